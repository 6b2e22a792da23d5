import type { BranchId, EndpointId } from '@tenantry/contract/ids.ts';
import { isNoSpace, PlatformError } from '../../kernel/errors.ts';
import { done, goto, skipped, type OperationDefinition } from '../../operations/operation.ts';
import { markBranchReady } from '../branches/branch-rows.ts';
import { toFinalError } from '../command/operation-failure.ts';
import { transact } from '../command/transact.ts';
import type { PlatformDeps } from '../context.ts';
import { pushEndpointSpec } from '../endpoints/apply-endpoint-spec.ts';
import { findEndpointSpec } from '../endpoints/endpoint-spec.ts';
import { removeFromHost } from './remove-from-host.ts';
import { deleteProjectRow, markProjectDeleted } from './project-rows.ts';

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
    createVolume: async ({ deps }, { endpointId }) => {
      const spec = await findEndpointSpec(deps.metadata, endpointId);
      if (!spec) return skipped;
      await unlessFull(deps.host.createVolume(spec));
      return goto('applySpec');
    },
    applySpec: async ({ deps }, { branchId, endpointId }) => {
      if (!(await unlessFull(pushEndpointSpec(deps, endpointId)))) return skipped;
      await markBranchReady(deps.metadata, branchId);
      return done;
    },
  },
  onFailure: async ({ deps }, { projectId, endpointId }) => {
    await transact(deps, async ({ tx, changeDirectory }) => {
      if (await markProjectDeleted(tx, projectId)) changeDirectory([endpointId]);
    });
    await removeFromHost(deps, projectId);
    await deleteProjectRow(deps.metadata, projectId);
  },
};

/** Whoever waits for a project is served better by an error now than by space that may come later. */
async function unlessFull<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isNoSpace(error)) throw error;
    const message = 'Cannot create the project: the disk that holds the data directory is full. Free space, then retry';
    throw toFinalError(
      error instanceof PlatformError && error.code === 'NO_SPACE' ? error : new PlatformError('NO_SPACE', message),
    );
  }
}
