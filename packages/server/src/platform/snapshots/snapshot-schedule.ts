import { getBranchRow } from '../branches/get-branch.ts';
import type { PlatformContext } from '../context.ts';
import type { Principal, SnapshotScheduleItem } from '../platform.ts';
import { listScheduleItems, replaceSchedule } from './schedule-rows.ts';
import { checkSchedule } from './schedule.ts';

export async function getSnapshotSchedule(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
): Promise<readonly SnapshotScheduleItem[]> {
  const { id } = await getBranchRow(context, principal, projectId, branchId);
  return listScheduleItems(context.metadata, id);
}

/** In place of the present one; no items: no snapshots. @throws PlatformError NOT_FOUND, INVALID_REQUEST */
export async function setSnapshotSchedule(
  context: PlatformContext,
  principal: Principal,
  { projectId, branchId }: { readonly projectId: string; readonly branchId: string },
  items: readonly SnapshotScheduleItem[],
): Promise<readonly SnapshotScheduleItem[]> {
  const { id } = await getBranchRow(context, principal, projectId, branchId);
  checkSchedule(items);
  const now = context.now();
  await context.metadata.transaction().execute((tx) => replaceSchedule(tx, id, { items, now }));
  return listScheduleItems(context.metadata, id);
}
