import { done, skipped, type OperationDefinition } from '../../operations/operation.ts';
import type { PlatformDeps } from '../context.ts';
import { findEndpointSpec } from './endpoint-spec.ts';

interface ApplyEndpointSpecInput {
  readonly endpointId: string;
}

/** Tells the host what an endpoint is to be like now. If that fails for good, the next reconcile tells it. */
export const applyEndpointSpec: OperationDefinition<ApplyEndpointSpecInput, PlatformDeps> = {
  kind: 'apply_endpoint_spec',
  action: 'apply_config',
  deadlineMs: 5 * 60_000,
  firstStep: 'push',
  steps: {
    push: async ({ deps }, { endpointId }) => ((await pushEndpointSpec(deps, endpointId)) ? done : skipped),
  },
};

/** @returns false if the endpoint is gone */
export async function pushEndpointSpec({ metadata, host }: PlatformDeps, endpointId: string): Promise<boolean> {
  const spec = await findEndpointSpec(metadata, endpointId);
  if (spec) await host.applySpec(spec);
  return spec !== undefined;
}
