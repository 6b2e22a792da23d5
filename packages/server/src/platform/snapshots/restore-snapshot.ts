import { newBranchId, type BranchId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { done, skipped, type OperationDefinition } from '../../operations/operation.ts';
import { bringBack } from '../branches/bring-back.ts';
import { insertBranch, markBranchReady } from '../branches/branch-changes.ts';
import { countBranches, findBranchRow, findBranchVolumeId, hasBranchName } from '../branches/branch-rows.ts';
import { discardBranch } from '../branches/discard-branch.ts';
import { orderFinalize } from '../branches/finalize-restore.ts';
import { freeName } from '../branches/free-name.ts';
import { getBranch, getBranchRow } from '../branches/get-branch.ts';
import { checkBranchLimits } from '../branches/new-branch.ts';
import { checkBranchName, checkReplaceable } from '../branches/restore-branch.ts';
import { undoRestore } from '../branches/restore-rows.ts';
import { pasteCatalog, sealFor } from '../catalog/catalog-copy.ts';
import { checkName, notFound } from '../checks.ts';
import { runCommand, type Command } from '../command/run-command.ts';
import { transact } from '../command/transact.ts';
import { unlessFull } from '../command/unless-full.ts';
import type { PlatformContext, PlatformDeps } from '../context.ts';
import { assertRoom } from '../hosts/assert-room.ts';
import { removeFromHost } from '../hosts/remove-from-host.ts';
import type { BranchChange, Principal, Snapshots } from '../platform.ts';
import { getHistoryRetention, lockProject } from '../projects/project-rows.ts';
import { getSnapshotRow } from './get-snapshot.ts';
import { holdSnapshotRow, type SnapshotRow } from './snapshot-rows.ts';

interface RestoreSnapshotInput {
  readonly projectId: string;
  readonly branchId: BranchId;
  readonly source: string;
  /** The branch whose place it is to take: nobody may change it meanwhile. */
  readonly targetId: string | null;
}

/**
 * Makes the volume of a branch out of that of a snapshot. If that fails for good, the branch goes, and the target is as
 * it was.
 */
export const restoreSnapshotOperation: OperationDefinition<RestoreSnapshotInput, PlatformDeps> = {
  kind: 'restore_snapshot',
  action: 'create_branch',
  deadlineMs: 60 * 60_000,
  stepDeadlineMs: 20 * 60_000,
  firstStep: 'branchVolume',
  steps: {
    branchVolume: async ({ deps }, { projectId, branchId, source }) => {
      const { metadata, host } = deps;
      const volumeId = await findBranchVolumeId(metadata, branchId);
      if (volumeId === undefined) return skipped;
      const historyRetentionSeconds = await getHistoryRetention(metadata, projectId);
      const request = { volumeId, projectId, source, at: { kind: 'head' }, historyRetentionSeconds } as const;
      await unlessFull('restore the snapshot', host.branchVolume(request));
      await markBranchReady(metadata, branchId);
      return done;
    },
  },
  onFailure: async ({ deps }, { projectId, branchId, targetId }) => {
    await transact(deps, async (work) => {
      await discardBranch(work, { projectId, branchId });
      // What was to finalize it is cancelled, and never runs.
      if (targetId !== null) await undoRestore(work.tx, targetId, null);
    });
    await removeFromHost(deps, projectId);
  },
};

/**
 * A new branch with the data, roles and databases of a snapshot. With `isFinal` it takes the place of the target at
 * once, else by `finalizeRestore`.
 * @throws PlatformError NOT_FOUND, INVALID_REQUEST, ALREADY_EXISTS, CONFLICT, PROJECT_LOCKED, BRANCHES_LIMIT_EXCEEDED
 */
export async function restoreSnapshot(
  context: PlatformContext,
  principal: Principal,
  { projectId, snapshotId }: { readonly projectId: string; readonly snapshotId: string },
  input: Parameters<Snapshots['restore']>[3],
): Promise<BranchChange> {
  const { targetBranchId, isFinal = false } = input;
  const snapshot = await getSnapshotRow(context, principal, projectId, snapshotId);
  if (snapshot.state === 'init') {
    throw new PlatformError('PROJECT_LOCKED', `Cannot restore snapshot ${snapshot.id}: it is being taken. Retry soon`);
  }
  if (input.name !== undefined) checkName('name', input.name);
  if (targetBranchId !== undefined) await getBranchRow(context, principal, projectId, targetBranchId);
  const replaced = isFinal
    ? await findBranchRow(context.metadata, projectId, targetBranchId ?? snapshot.sourceBranchId)
    : undefined;
  if (replaced) await bringBack(context, replaced);
  const branchId = newBranchId();
  await assertRoom(context);
  const { operations } = await runCommand(context, async (command) => {
    const { tx } = command;
    if (!(await lockProject(tx, projectId))) throw notFound('project', projectId);
    if (!(await holdSnapshotRow(tx, snapshot.id))) throw notFound('snapshot', snapshotId);
    const target = await findBranchRow(tx, projectId, targetBranchId ?? snapshot.sourceBranchId);
    if (isFinal) {
      if (!target) {
        const why = 'the branch that it was taken of is gone. Give target_branch_id, or finalize_restore false';
        throw new PlatformError('CONFLICT', `Cannot restore snapshot ${snapshot.id} in place: ${why}`);
      }
      checkReplaceable(target);
    }
    const name =
      input.name ?? (await freeName(`${snapshot.name} restored`, (free) => hasBranchName(tx, projectId, free)));
    await checkBranchName(tx, { projectId, name, field: 'name' });
    checkBranchLimits(await countBranches(tx, projectId), { isRoot: true, isProtected: false });
    await insertBranch(tx, { id: branchId, projectId, name, creatorUserId: principal.userId });
    await markRestored(tx, branchId, { snapshot, targetId: target?.id ?? null });
    await pasteCatalog(tx, sealFor(context.passwords, snapshot.catalog, branchId));
    const targetId = isFinal && target ? target.id : null;
    const order = { projectId, branchId, source: snapshot.volumeId, targetId };
    const id = await command.enqueue(restoreSnapshotOperation, order, { projectId, branchId });
    if (isFinal && target) await orderFinalize(command, { branchId, target, dependsOn: [id] });
  });
  return { branch: await getBranch(context, principal, projectId, branchId), operations };
}

interface Restored {
  readonly snapshot: SnapshotRow;
  readonly targetId: string | null;
}

async function markRestored(tx: Command['tx'], branchId: string, { snapshot, targetId }: Restored): Promise<void> {
  await tx
    .updateTable('branches')
    .set({
      restored_from: snapshot.id,
      restored_as: targetId,
      restore_status: 'restored',
      logical_bytes: snapshot.fullBytes,
    })
    .where('id', '=', branchId)
    .execute();
}
