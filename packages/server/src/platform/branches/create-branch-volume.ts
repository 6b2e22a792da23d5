import type { BranchId } from '@tenantry/contract/ids.ts';
import { done, goto, skipped, type OperationDefinition } from '../../operations/operation.ts';
import type { MomentRequest } from '../../host/host.ts';
import { transact } from '../command/transact.ts';
import { unlessFull } from '../command/unless-full.ts';
import type { PlatformDeps } from '../context.ts';
import { pushEndpointSpec } from '../endpoints/apply-endpoint-spec.ts';
import { branchReplica } from '../endpoints/branch-replica.ts';
import { listEndpointVolumes } from '../endpoints/endpoint-rows.ts';
import { removeFromHost } from '../hosts/remove-from-host.ts';
import { getHistoryRetention } from '../projects/project-rows.ts';
import { markBranchReady, setOrigin } from './branch-changes.ts';
import { findBranchVolumeId } from './branch-rows.ts';
import { discardBranch } from './discard-branch.ts';

interface CreateBranchInput {
  readonly projectId: string;
  readonly branchId: BranchId;
  /** The parent's volume. */
  readonly source: string;
  readonly at: MomentRequest;
  readonly isSchemaOnly: boolean;
}

const WHAT = 'create the branch';

/** Makes the volume of a new branch and tells the host of its endpoints. If that fails for good, the branch goes. */
export const createBranchVolume: OperationDefinition<CreateBranchInput, PlatformDeps> = {
  kind: 'create_branch',
  action: 'create_branch',
  deadlineMs: 30 * 60_000,
  // Where clones share no blocks, the data is copied.
  stepDeadlineMs: 10 * 60_000,
  firstStep: 'branchVolume',
  steps: {
    branchVolume: async ({ deps }, { projectId, branchId, source, at, isSchemaOnly }) => {
      const { metadata, host } = deps;
      const volumeId = await findBranchVolumeId(metadata, branchId);
      if (volumeId === undefined) return skipped;
      const historyRetentionSeconds = await getHistoryRetention(metadata, projectId);
      const request = { volumeId, projectId, source, at, historyRetentionSeconds };
      if (isSchemaOnly) await unlessFull(WHAT, host.createSchemaOnlyVolume(request));
      else await setOrigin(metadata, branchId, await unlessFull(WHAT, host.branchVolume(request)));
      return goto('branchReplicas');
    },
    branchReplicas: async ({ deps }, { branchId }) => {
      for (const { endpointId } of await listEndpointVolumes(deps.metadata, branchId)) {
        await unlessFull(WHAT, branchReplica(deps, endpointId));
      }
      return goto('applySpec');
    },
    applySpec: async ({ deps }, { branchId }) => {
      for (const { endpointId } of await listEndpointVolumes(deps.metadata, branchId)) {
        await unlessFull(WHAT, pushEndpointSpec(deps, endpointId));
      }
      await markBranchReady(deps.metadata, branchId);
      return done;
    },
  },
  onFailure: async ({ deps }, { projectId, branchId }) => {
    await transact(deps, (work) => discardBranch(work, { projectId, branchId }));
    await removeFromHost(deps, projectId);
  },
};
