import { done, skipped, type OperationDefinition } from '../../operations/operation.ts';
import type { PlatformContext, PlatformDeps } from '../context.ts';
import type { EndpointChange, Principal } from '../platform.ts';
import { changeComputeState } from './change-compute-state.ts';
import { findEndpointSpec } from './endpoint-spec.ts';
import { getEndpoint } from './get-endpoint.ts';

interface RestartComputeInput {
  readonly endpointId: string;
}

export const restartCompute: OperationDefinition<RestartComputeInput, PlatformDeps> = {
  kind: 'restart_compute',
  action: 'start_compute',
  deadlineMs: 2 * 60_000,
  firstStep: 'restart',
  steps: {
    restart: async ({ deps }, { endpointId }) => {
      const spec = await findEndpointSpec(deps.metadata, endpointId);
      if (!spec) return skipped;
      await deps.host.restart(spec.endpointId);
      return done;
    },
  },
};

/** @throws PlatformError CONFLICT if the compute does not run; only the host knows for sure */
export async function restartEndpoint(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  endpointId: string,
): Promise<EndpointChange> {
  const endpoint = await getEndpoint(context, principal, projectId, endpointId);
  const input = { endpointId: endpoint.id };
  return changeComputeState(context, endpoint, { definition: restartCompute, input, expected: 'active' });
}
