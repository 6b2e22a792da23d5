import type { BranchId, EndpointId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { done, goto, skipped, type OperationDefinition } from '../../operations/operation.ts';
import { getBranchRow } from '../branches/get-branch.ts';
import { notFound } from '../checks.ts';
import { runCommand, type Command } from '../command/run-command.ts';
import { transact } from '../command/transact.ts';
import type { PlatformContext, PlatformDeps } from '../context.ts';
import { pushEndpointSpec } from '../endpoints/apply-endpoint-spec.ts';
import { findReadWriteEndpointId, raiseGeneration } from '../endpoints/endpoint-rows.ts';
import { findEndpointSpec } from '../endpoints/endpoint-spec.ts';
import type { Operation, Principal } from '../platform.ts';
import { insertCatalogChange, lockBranch, type NewCatalogChange } from './catalog-change-rows.ts';
import { refuseChanges } from './refuse-changes.ts';
import { settleApplied } from './settle-changes.ts';

interface ApplyCatalogChangeInput {
  readonly endpointId: string;
  readonly seq: number;
}

/** Wakes the compute to make one change to its roles or databases. If that fails for good, the rows are put back. */
export const applyCatalogChange: OperationDefinition<ApplyCatalogChangeInput, PlatformDeps> = {
  kind: 'apply_catalog_change',
  action: 'apply_config',
  deadlineMs: 2 * 60_000,
  firstStep: 'push',
  steps: {
    push: async ({ deps }, { endpointId }) => ((await pushEndpointSpec(deps, endpointId)) ? goto('apply') : skipped),
    apply: async ({ deps }, { endpointId, seq }) => {
      const spec = await findEndpointSpec(deps.metadata, endpointId);
      if (!spec) return skipped;
      await deps.host.applyCatalog(spec.endpointId, seq);
      await transact(deps, (work) => settleApplied(work, spec.branchId, seq));
      return done;
    },
  },
  onFailure: ({ deps }, { endpointId, seq }) => refuseChanges(deps, endpointId, seq),
};

export interface BranchTarget {
  readonly projectId: string;
  readonly branchId: BranchId;
  readonly endpointId: EndpointId;
}

/**
 * The frame of all commands that change roles or databases: checks access, locks the branch, lets `decide` look at
 * the rows, write them and say what is to be done in Postgres, and has that done.
 * @throws PlatformError NOT_FOUND, CATALOG_CHANGE_REFUSED, ENDPOINT_DISABLED and what `decide` throws
 */
export async function orderCatalogChange<T>(
  context: PlatformContext,
  principal: Principal,
  { projectId, branchId }: { readonly projectId: string; readonly branchId: string },
  decide: (command: Command, target: BranchTarget) => Promise<{ readonly value: T; readonly order?: NewCatalogChange }>,
): Promise<{ readonly value: T; readonly operations: readonly Operation[] }> {
  const branch = await getBranchRow(context, principal, projectId, branchId);
  return runCommand(context, async (command) => {
    const { tx } = command;
    if (!(await lockBranch(tx, branch.id))) throw notFound('branch', branchId);
    const endpointId = await findReadWriteEndpointId(tx, branch.id);
    if (endpointId === undefined) throw new PlatformError('NOT_FOUND', 'no read-write endpoint for branch');
    const target = { projectId, branchId: branch.id, endpointId: endpointId as EndpointId };
    const { value, order } = await decide(command, target);
    if (!order) return value;
    const seq = await insertCatalogChange(tx, branch.id, order);
    await raiseGeneration(tx, [endpointId]);
    await command.enqueue(applyCatalogChange, { endpointId, seq }, target);
    return value;
  });
}
