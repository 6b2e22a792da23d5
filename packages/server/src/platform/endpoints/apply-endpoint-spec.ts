import { done, skipped, type OperationDefinition } from '../../operations/operation.ts';
import { transact } from '../command/transact.ts';
import type { PlatformDeps } from '../context.ts';
import { raiseGeneration } from './endpoint-rows.ts';
import { findEndpointSpec } from './endpoint-spec.ts';

interface ApplyEndpointSpecInput {
  readonly endpointId: string;
  /** Put back if Postgres refuses the new ones. */
  readonly pgSettingsBefore?: Readonly<Record<string, string>>;
}

/**
 * Tells the host what an endpoint is to be like now. Settings that Postgres refuses are put back; after any other
 * failure the next reconcile tells the host.
 */
export const applyEndpointSpec: OperationDefinition<ApplyEndpointSpecInput, PlatformDeps> = {
  kind: 'apply_endpoint_spec',
  action: 'apply_config',
  deadlineMs: 5 * 60_000,
  firstStep: 'push',
  steps: {
    push: async ({ deps }, { endpointId }) => ((await pushEndpointSpec(deps, endpointId)) ? done : skipped),
  },
  onFailure: async ({ deps }, { endpointId, pgSettingsBefore }, { code }) => {
    if (code !== 'INVALID_REQUEST' || !pgSettingsBefore) return;
    await transact(deps, async ({ tx }) => {
      const pg_settings = JSON.stringify(pgSettingsBefore);
      await tx.updateTable('endpoints').set({ pg_settings }).where('id', '=', endpointId).execute();
      await raiseGeneration(tx, [endpointId]);
    });
    await pushEndpointSpec(deps, endpointId);
  },
};

/** @returns false if the endpoint is gone */
export async function pushEndpointSpec({ metadata, host }: PlatformDeps, endpointId: string): Promise<boolean> {
  const spec = await findEndpointSpec(metadata, endpointId);
  if (spec) await host.applySpec(spec);
  return spec !== undefined;
}
