import type { MomentRequest } from '../../host/host.ts';
import { must } from '../../kernel/assert.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { done, goto, skipped, type OperationDefinition } from '../../operations/operation.ts';
import { pasteCatalog, readCatalog, sealFor } from '../catalog/catalog-copy.ts';
import { transact, type Work } from '../command/transact.ts';
import { unlessFull } from '../command/unless-full.ts';
import type { PlatformDeps } from '../context.ts';
import { pushEndpointSpec } from '../endpoints/apply-endpoint-spec.ts';
import { listEndpointIds, raiseGeneration } from '../endpoints/endpoint-rows.ts';
import { insertHostRemovals } from '../hosts/host-removal-rows.ts';
import { removeFromHost } from '../hosts/remove-from-host.ts';
import { getHistoryRetention } from '../projects/project-rows.ts';
import { findBranchVolumeId } from './branch-rows.ts';
import { restoreCatalog } from './restore-catalog.ts';
import { makeReplicaVolumes, swapReplicaVolumes, type ReplicaSwap } from './restore-replicas.ts';
import { fillBackup, lockBranchRow, setRestored, undoRestore } from './restore-rows.ts';

/** All ids are chosen when the operation is ordered, so that each step means the same when it runs again. */
export interface RestoreInput {
  readonly projectId: string;
  readonly branchId: string;
  readonly sourceBranchId: string;
  readonly at: MomentRequest;
  readonly oldVolumeId: string;
  readonly volumeId: string;
  /** Of the row that is reserved for the state before. */
  readonly backupId: string | null;
  readonly isReset: boolean;
  readonly replicas: readonly ReplicaSwap[];
}

/**
 * Gives a branch another volume: made first, then swapped in the rows, then told to the host, and last the old one is
 * deleted, unless the backup has it. A failure before the swap leaves the branch as it was.
 */
export const restoreBranchOperation: OperationDefinition<RestoreInput, PlatformDeps> = {
  kind: 'restore_branch',
  action: 'create_branch',
  deadlineMs: 60 * 60_000,
  stepDeadlineMs: 20 * 60_000,
  firstStep: 'makeVolumes',
  steps: {
    makeVolumes: async ({ deps }, input) => {
      if ((await findBranchVolumeId(deps.metadata, input.branchId)) === undefined) return skipped;
      await makeVolume(deps, input);
      const source = { projectId: input.projectId, source: input.volumeId };
      await unlessFull(WHAT, makeReplicaVolumes(deps, source, input.replicas));
      return goto('swap');
    },
    swap: async ({ deps }, input) => {
      await swap(deps, input);
      return goto('push');
    },
    push: async ({ deps }, { branchId }) => {
      await pushBranch(deps, branchId);
      return goto('clean');
    },
    clean: async ({ deps }, { projectId }) => {
      await removeFromHost(deps, projectId);
      return done;
    },
  },
  onFailure: async ({ deps }, input) => {
    const { projectId, branchId, volumeId, backupId, replicas } = input;
    // Then the host is told, and the old volume removed, by the next look at what is left to be done.
    if ((await findBranchVolumeId(deps.metadata, branchId)) === volumeId) return;
    await transact(deps, async ({ tx }) => {
      await undoRestore(tx, branchId, backupId);
      await insertHostRemovals(tx, projectId, {
        volumeIds: [volumeId, ...replicas.map((replica) => replica.volumeId)],
      });
    });
    await removeFromHost(deps, projectId);
  },
};

const WHAT = 'restore the branch';

async function makeVolume({ metadata, host }: PlatformDeps, input: RestoreInput) {
  const { projectId, sourceBranchId, volumeId, at } = input;
  const source = await findBranchVolumeId(metadata, sourceBranchId);
  if (source === undefined) throw new PlatformError('NOT_FOUND', `Cannot restore: branch ${sourceBranchId} is gone`);
  const historyRetentionSeconds = await getHistoryRetention(metadata, projectId);
  return unlessFull(WHAT, host.branchVolume({ volumeId, projectId, source, at, historyRetentionSeconds }));
}

async function swap(deps: PlatformDeps, input: RestoreInput): Promise<void> {
  if ((await findBranchVolumeId(deps.metadata, input.branchId)) !== input.oldVolumeId) return;
  // It exists: this tells what moment it is of.
  const moment = await makeVolume(deps, input);
  await transact(deps, async (work) => {
    const { tx } = work;
    const { branchId, sourceBranchId, backupId, volumeId } = input;
    const before = await lockBranchRow(tx, branchId);
    if (before?.volume_id !== input.oldVolumeId) return;
    const source = sourceBranchId === branchId ? before : await lockBranchRow(tx, sourceBranchId);
    // Until now nothing kept it from being deleted, or given an end.
    if (!source || (source.id !== branchId && (source.deleted_at !== null || source.expires_at !== null))) {
      const why = `branch ${sourceBranchId}, which would become the parent, was deleted or is to expire`;
      throw new PlatformError('CONFLICT', `Cannot restore: ${why}`);
    }
    const catalog = await readCatalog(tx, branchId);
    await setRestored(tx, before, {
      volumeId,
      parentId: sourceBranchId === branchId ? must(backupId, 'a restore from the own past has a backup') : source.id,
      moment,
      logicalBytes: source.logical_bytes,
      resetAt: input.isReset ? deps.now() : null,
    });
    if (backupId !== null) {
      await fillBackup(tx, backupId, before);
      await pasteCatalog(tx, sealFor(deps.passwords, catalog, backupId));
    } else {
      await insertHostRemovals(tx, input.projectId, { volumeIds: [before.volume_id] });
    }
    await restoreCatalog(tx, branchId, {
      projectId: input.projectId,
      before: catalog,
      source: { id: source.id, isProtected: source.is_protected },
      passwords: deps.passwords,
    });
    await swapReplicaVolumes(tx, input.projectId, input.replicas);
    await changeEndpoints(work, branchId);
  });
}

/** What the host and the gateways know of the branch's endpoints is old. */
export async function changeEndpoints({ tx, changeDirectory }: Work, branchId: string): Promise<void> {
  const endpointIds = await listEndpointIds(tx, { branchId });
  await raiseGeneration(tx, endpointIds);
  changeDirectory(endpointIds);
}

/** Tells the host of all endpoints of a branch. */
export async function pushBranch(deps: PlatformDeps, branchId: string): Promise<void> {
  for (const endpointId of await listEndpointIds(deps.metadata, { branchId })) await pushEndpointSpec(deps, endpointId);
}
