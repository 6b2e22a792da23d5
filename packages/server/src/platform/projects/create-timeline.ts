import type { BranchId, EndpointId } from '@tenantry/contract/ids.ts';
import { done, goto, skipped, type OperationDefinition } from '../../operations/operation.ts';
import { markBranchReady } from '../branches/branch-changes.ts';
import { unlessFull } from '../command/unless-full.ts';
import { transact } from '../command/transact.ts';
import type { PlatformDeps } from '../context.ts';
import { pushEndpointSpec } from '../endpoints/apply-endpoint-spec.ts';
import { findEndpointSpec } from '../endpoints/endpoint-spec.ts';
import { getHistoryRetention, markProjectDeleted } from './project-rows.ts';
import { removeProject } from './remove-project.ts';

interface CreateTimelineInput {
  readonly projectId: string;
  readonly branchId: BranchId;
  readonly endpointId: EndpointId;
}

/** Makes the volume of a new project and tells the host of its endpoint. If that fails for good, the project goes. */
export const createTimeline: OperationDefinition<CreateTimelineInput, PlatformDeps> = {
  kind: 'create_timeline',
  action: 'create_timeline',
  deadlineMs: 5 * 60_000,
  firstStep: 'createVolume',
  steps: {
    createVolume: async ({ deps }, { projectId, endpointId }) => {
      const spec = await findEndpointSpec(deps.metadata, endpointId);
      if (!spec) return skipped;
      const { volumeId, pgVersion } = spec;
      const historyRetentionSeconds = await getHistoryRetention(deps.metadata, projectId);
      await unlessFull(
        'create the project',
        deps.host.createVolume({ volumeId, projectId, pgVersion, historyRetentionSeconds }),
      );
      return goto('applySpec');
    },
    applySpec: async ({ deps }, { branchId, endpointId }) => {
      if (!(await unlessFull('create the project', pushEndpointSpec(deps, endpointId)))) return skipped;
      await markBranchReady(deps.metadata, branchId);
      return done;
    },
  },
  onFailure: async ({ deps }, { projectId, endpointId }) => {
    await transact(deps, async ({ tx, changeDirectory }) => {
      if (await markProjectDeleted(tx, projectId)) changeDirectory([endpointId]);
    });
    await removeProject(deps, projectId);
  },
};
