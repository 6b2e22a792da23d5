import { checkName, notFound } from '../checks.ts';
import { runCommand } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import type { Principal, Snapshot, Snapshots } from '../platform.ts';
import { lockProject } from '../projects/project-rows.ts';
import { checkSnapshotExpiration, checkSnapshotName } from './create-snapshot.ts';
import { getSnapshotRow } from './get-snapshot.ts';
import { toSnapshot, updateSnapshotRow } from './snapshot-rows.ts';

/** @throws PlatformError NOT_FOUND, INVALID_REQUEST, ALREADY_EXISTS */
export async function updateSnapshot(
  context: PlatformContext,
  principal: Principal,
  { projectId, snapshotId }: { readonly projectId: string; readonly snapshotId: string },
  input: Parameters<Snapshots['update']>[3],
): Promise<Snapshot> {
  const before = await getSnapshotRow(context, principal, projectId, snapshotId);
  const { name, expiresAt } = input;
  if (name !== undefined) checkName('snapshot.name', name);
  if (expiresAt) checkSnapshotExpiration('snapshot.expires_at', expiresAt, context.now());
  await runCommand(context, async ({ tx }) => {
    if (!(await lockProject(tx, projectId))) throw notFound('project', projectId);
    if (name !== undefined && name !== before.name) await checkSnapshotName(tx, projectId, name, 'snapshot.name');
    await updateSnapshotRow(tx, before.id, input);
  });
  return toSnapshot(await getSnapshotRow(context, principal, projectId, snapshotId));
}
