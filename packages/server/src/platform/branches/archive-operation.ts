import { PlatformError } from '../../kernel/errors.ts';
import { done, skipped, type OperationDefinition } from '../../operations/operation.ts';
import type { PlatformDeps } from '../context.ts';
import { unlessFull } from '../command/unless-full.ts';
import { findVolumeToArchive, setArchived } from './archive-rows.ts';
import { findBranchVolumeId } from './branch-rows.ts';

interface ArchiveInput {
  readonly branchId: string;
}

/** Has the host keep a branch compressed. Skipped if it is needed after all, or would take no less space. */
export const archiveBranchOperation: OperationDefinition<ArchiveInput, PlatformDeps> = {
  kind: 'archive_branch',
  action: 'timeline_archive',
  deadlineMs: 60 * 60_000,
  stepDeadlineMs: 60 * 60_000,
  firstStep: 'archive',
  steps: {
    archive: async ({ deps }, { branchId }) => {
      const volumeId = await findVolumeToArchive(deps.metadata, branchId);
      if (volumeId !== undefined) await archiveUnlessUsed(deps, volumeId);
      return (await settleArchived(deps, branchId)) ? done : skipped;
    },
  },
  onFailure: async ({ deps }, { branchId }) => void (await settleArchived(deps, branchId)),
};

/** Brings an archived branch back. */
export const unarchiveBranchOperation: OperationDefinition<ArchiveInput, PlatformDeps> = {
  kind: 'unarchive_branch',
  action: 'timeline_unarchive',
  deadlineMs: 60 * 60_000,
  stepDeadlineMs: 60 * 60_000,
  firstStep: 'unarchive',
  steps: {
    unarchive: async ({ deps }, { branchId }) => {
      const volumeId = await findBranchVolumeId(deps.metadata, branchId);
      if (volumeId === undefined) return skipped;
      await unlessFull('bring back the archived branch', deps.host.unarchiveVolume(volumeId));
      await setArchived(deps.metadata, branchId, false);
      return done;
    },
  },
  onFailure: async ({ deps }, { branchId }) => void (await settleArchived(deps, branchId)),
};

async function archiveUnlessUsed({ host }: PlatformDeps, volumeId: string): Promise<void> {
  try {
    await host.archiveVolume(volumeId);
  } catch (error) {
    if (!(error instanceof PlatformError && error.code === 'CONFLICT')) throw error;
  }
}

/** The row says what the host has: whether the branch is archived. */
async function settleArchived({ host, metadata }: PlatformDeps, branchId: string): Promise<boolean> {
  const volumeId = await findBranchVolumeId(metadata, branchId);
  if (volumeId === undefined) return false;
  const isArchived = (await host.archivedVolumes()).includes(volumeId);
  await setArchived(metadata, branchId, isArchived);
  return isArchived;
}
