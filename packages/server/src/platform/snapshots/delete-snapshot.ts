import { PlatformError } from '../../kernel/errors.ts';
import { notFound } from '../checks.ts';
import { runCommand, type Command } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { insertHostRemovals } from '../hosts/host-removal-rows.ts';
import { enqueueVolumeRemoval } from '../hosts/remove-from-host.ts';
import type { Operation, Principal } from '../platform.ts';
import { getSnapshotRow } from './get-snapshot.ts';
import { deleteSnapshotRow, isBeingRestored } from './snapshot-rows.ts';

/** Gone for clients at once. Branches that were made from it have all that they need. */
export async function deleteSnapshot(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  snapshotId: string,
): Promise<readonly Operation[]> {
  const { id, sourceBranchId } = await getSnapshotRow(context, principal, projectId, snapshotId);
  const { operations } = await runCommand(context, async (command) => {
    const isDeleted = await discardSnapshot(command, { id, projectId, branchId: sourceBranchId });
    if (!isDeleted) throw notFound('snapshot', snapshotId);
  });
  return operations;
}

interface DiscardedSnapshot {
  readonly id: string;
  readonly projectId: string;
  readonly branchId: string;
}

/**
 * @returns false if it was gone
 * @throws PlatformError PROJECT_LOCKED while a branch is made of it
 */
export async function discardSnapshot(
  command: Command,
  { id, projectId, branchId }: DiscardedSnapshot,
): Promise<boolean> {
  if (await isBeingRestored(command.tx, id)) {
    throw new PlatformError('PROJECT_LOCKED', `Cannot delete snapshot ${id}: it is being restored. Retry soon`);
  }
  const volumeId = await deleteSnapshotRow(command.tx, id);
  if (volumeId === undefined) return false;
  await insertHostRemovals(command.tx, projectId, { volumeIds: [volumeId] });
  await enqueueVolumeRemoval(command, projectId, branchId);
  return true;
}
