import type { EndpointId } from '@tenantry/contract/ids.ts';
import { done, type OperationDefinition } from '../../operations/operation.ts';
import { runCommand } from '../command/run-command.ts';
import { unlessNotFound } from '../command/unless-not-found.ts';
import type { PlatformContext, PlatformDeps } from '../context.ts';
import type { EndpointChange, Principal } from '../platform.ts';
import { afterStateChange } from './after-state-change.ts';
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
  const target = { projectId, branchId: endpoint.branchId, endpointId: endpoint.id };
  const { operations } = await runCommand(context, (command) =>
    command.enqueue(suspendCompute, { endpointId: endpoint.id }, target),
  );
  return afterStateChange(context, { endpoint, operations, expected: 'idle' });
}
