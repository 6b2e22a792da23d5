import { newSnapshotId, newVolumeId, type BranchId, type SnapshotId } from '@tenantry/contract/ids.ts';
import type { MomentRequest } from '../../host/host.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { done, skipped, type OperationDefinition } from '../../operations/operation.ts';
import { findBranchVolumeId } from '../branches/branch-rows.ts';
import { readCatalog } from '../catalog/catalog-copy.ts';
import type { Command } from '../command/run-command.ts';
import { unlessFull } from '../command/unless-full.ts';
import type { PlatformDeps } from '../context.ts';
import { insertHostRemovals } from '../hosts/host-removal-rows.ts';
import { removeFromHost } from '../hosts/remove-from-host.ts';
import { deleteSnapshotRow, findSnapshotRow, insertSnapshot, markSnapshotReady } from './snapshot-rows.ts';

interface TakeSnapshotInput {
  readonly projectId: string;
  readonly branchId: string;
  readonly snapshotId: string;
  readonly at: MomentRequest;
}

/** Makes the volume of a snapshot, which is never started. If that fails for good, there is no snapshot. */
export const takeSnapshot: OperationDefinition<TakeSnapshotInput, PlatformDeps> = {
  kind: 'take_snapshot',
  action: 'create_branch',
  deadlineMs: 60 * 60_000,
  stepDeadlineMs: 20 * 60_000,
  firstStep: 'branchVolume',
  steps: {
    branchVolume: async ({ deps }, { projectId, branchId, snapshotId, at }) => {
      const { metadata, host } = deps;
      const snapshot = await findSnapshotRow(metadata, projectId, snapshotId);
      if (!snapshot) return skipped;
      const source = await findBranchVolumeId(metadata, branchId);
      if (source === undefined) throw new PlatformError('NOT_FOUND', 'Cannot take the snapshot: its branch is gone');
      const { volumeId } = snapshot;
      // All that it is for is its head.
      const request = { volumeId, projectId, source, at, historyRetentionSeconds: 0 };
      const moment = await unlessFull('take the snapshot', host.branchVolume(request));
      const { logicalBytes } = await host.volumeUsage(volumeId);
      await markSnapshotReady(metadata, snapshotId, { moment, fullBytes: logicalBytes });
      return done;
    },
  },
  onFailure: async ({ deps }, { projectId, snapshotId }) => {
    await deps.metadata.transaction().execute(async (tx) => {
      const volumeId = await deleteSnapshotRow(tx, snapshotId);
      if (volumeId !== undefined) await insertHostRemovals(tx, projectId, { volumeIds: [volumeId] });
    });
    await removeFromHost(deps, projectId);
  },
};

interface SnapshotOrder {
  readonly projectId: string;
  readonly branchId: BranchId;
  readonly name: string;
  readonly at: MomentRequest;
  readonly isManual: boolean;
  readonly expiresAt: Date | null;
}

/** The row and the operation of a snapshot, part of a transaction that has checked all else. */
export async function orderSnapshot(command: Command, order: SnapshotOrder): Promise<SnapshotId> {
  const { projectId, branchId, at, ...facts } = order;
  const id = newSnapshotId();
  await insertSnapshot(command.tx, {
    ...facts,
    id,
    projectId,
    sourceBranchId: branchId,
    volumeId: newVolumeId(),
    catalog: await readCatalog(command.tx, branchId),
  });
  await command.enqueue(takeSnapshot, { projectId, branchId, snapshotId: id, at }, { projectId, branchId });
  return id;
}
