import { PlatformError } from '../../kernel/errors.ts';
import { done, skipped, type OperationDefinition } from '../../operations/operation.ts';
import { settleApplied } from '../catalog/settle-changes.ts';
import { refuseChanges } from '../catalog/refuse-changes.ts';
import { transact } from '../command/transact.ts';
import type { PlatformContext, PlatformDeps } from '../context.ts';
import type { EndpointChange, Principal } from '../platform.ts';
import { findEndpointSpec } from './endpoint-spec.ts';
import { changeComputeState } from './change-compute-state.ts';
import { getEndpoint } from './get-endpoint.ts';

interface StartComputeInput {
  readonly endpointId: string;
  /** The first start of a branch: the changes that its creation ordered, up to this one. 0: none. */
  readonly catalogSeq: number;
}

/** Starts the compute, and with it applies the catalog changes of a new project. A connect at that time joins it. */
export const startCompute: OperationDefinition<StartComputeInput, PlatformDeps> = {
  kind: 'start_compute',
  action: 'start_compute',
  deadlineMs: 2 * 60_000,
  firstStep: 'start',
  steps: {
    start: async ({ deps, signal }, { endpointId, catalogSeq }) => {
      const spec = await findEndpointSpec(deps.metadata, endpointId);
      if (!spec) return skipped;
      if (catalogSeq === 0) {
        await deps.host.acquire(spec.endpointId, signal);
        return done;
      }
      await deps.host.applyCatalog(spec.endpointId, catalogSeq);
      await transact(deps, (work) => settleApplied(work, spec.branchId, catalogSeq));
      return done;
    },
  },
  // Else the host would try the refused change at every start. Other failures leave it to the next start.
  onFailure: async ({ deps }, { endpointId, catalogSeq }, { code }) => {
    if (code === 'CATALOG_CHANGE_REFUSED') await refuseChanges(deps, endpointId, catalogSeq);
  },
};

/** @throws PlatformError ENDPOINT_DISABLED, and what the host says */
export async function startEndpoint(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  endpointId: string,
): Promise<EndpointChange> {
  const endpoint = await getEndpoint(context, principal, projectId, endpointId);
  if (endpoint.disabled) {
    throw new PlatformError(
      'ENDPOINT_DISABLED',
      `Cannot start endpoint ${endpoint.id}: it is disabled. Set endpoint.disabled to false first`,
    );
  }
  const input = { endpointId: endpoint.id, catalogSeq: 0 };
  return changeComputeState(context, endpoint, { definition: startCompute, input, expected: 'active' });
}
