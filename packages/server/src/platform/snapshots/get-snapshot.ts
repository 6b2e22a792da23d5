import { isId, notFound } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Principal, Snapshot } from '../platform.ts';
import { getProjectAccess } from '../projects/project-access.ts';
import { findSnapshotRow, listSnapshotRows, toSnapshot, type SnapshotRow } from './snapshot-rows.ts';

/** The check that a principal may see and change a snapshot. @throws PlatformError NOT_FOUND */
export async function getSnapshotRow(
  { metadata }: PlatformContext,
  principal: Principal,
  projectId: string,
  snapshotId: string,
): Promise<SnapshotRow> {
  await getProjectAccess(metadata, principal, projectId);
  const row = isId(snapshotId) ? await findSnapshotRow(metadata, projectId, snapshotId) : undefined;
  if (!row) throw notFound('snapshot', snapshotId);
  return row;
}

export async function listSnapshots(
  { metadata }: PlatformContext,
  principal: Principal,
  projectId: string,
): Promise<readonly Snapshot[]> {
  await getProjectAccess(metadata, principal, projectId);
  return (await listSnapshotRows(metadata, projectId)).map(toSnapshot);
}
