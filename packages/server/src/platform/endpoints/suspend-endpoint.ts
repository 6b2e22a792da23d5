import type { EndpointId } from '@tenantry/contract/ids.ts';
import { done, type OperationDefinition } from '../../operations/operation.ts';
import { unlessNotFound } from '../command/unless-not-found.ts';
import type { PlatformContext, PlatformDeps } from '../context.ts';
import type { EndpointChange, Principal } from '../platform.ts';
import { changeComputeState } from './change-compute-state.ts';
import { getEndpoint } from './get-endpoint.ts';

interface SuspendComputeInput {
  readonly endpointId: EndpointId;
}

/** Stops the compute. Also the first part of a deletion, so it does not look for rows. */
export const suspendCompute: OperationDefinition<SuspendComputeInput, PlatformDeps> = {
  kind: 'suspend_compute',
  action: 'suspend_compute',
  deadlineMs: 2 * 60_000,
  firstStep: 'suspend',
  steps: {
    suspend: async ({ deps }, { endpointId }) => {
      await unlessNotFound(deps.host.suspend(endpointId));
      return done;
    },
  },
};

export async function suspendEndpoint(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  endpointId: string,
): Promise<EndpointChange> {
  const endpoint = await getEndpoint(context, principal, projectId, endpointId);
  const input = { endpointId: endpoint.id };
  return changeComputeState(context, endpoint, { definition: suspendCompute, input, expected: 'idle' });
}
