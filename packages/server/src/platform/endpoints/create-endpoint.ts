import { newEndpointId, type EndpointId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { done, goto, skipped, type OperationDefinition } from '../../operations/operation.ts';
import { READ_ONLY_ENDPOINTS_MAX } from '../branches/branch-limits.ts';
import type { BranchRow } from '../branches/branch-rows.ts';
import { changeBranch } from '../branches/change-branch.ts';
import { getBranchRow } from '../branches/get-branch.ts';
import { findLastPendingSeq } from '../catalog/catalog-change-rows.ts';
import { notFound, printable } from '../checks.ts';
import type { Command } from '../command/run-command.ts';
import { transact } from '../command/transact.ts';
import { unlessFull } from '../command/unless-full.ts';
import type { PlatformContext, PlatformDeps } from '../context.ts';
import { assertRoom } from '../hosts/assert-room.ts';
import { removeFromHost } from '../hosts/remove-from-host.ts';
import type { EndpointChange, Endpoints, Principal } from '../platform.ts';
import { findProjectRow } from '../projects/project-rows.ts';
import { pushEndpointSpec } from './apply-endpoint-spec.ts';
import { branchReplica } from './branch-replica.ts';
import { discardEndpoint } from './delete-endpoint.ts';
import { forgetSettledChanges, insertEndpoint, listEndpointTypes } from './endpoint-rows.ts';
import { getEndpoint } from './get-endpoint.ts';
import { checkNewEndpoint, type CheckedEndpoint } from './new-endpoint.ts';
import { startCompute } from './start-endpoint.ts';

interface MakeEndpointInput {
  readonly projectId: string;
  readonly endpointId: EndpointId;
}

const WHAT = 'create the endpoint';

/** Tells the host of a new endpoint, with a volume of its own if it is read-only. If that fails for good, it goes. */
export const makeEndpoint: OperationDefinition<MakeEndpointInput, PlatformDeps> = {
  kind: 'make_endpoint',
  action: 'apply_config',
  deadlineMs: 30 * 60_000,
  stepDeadlineMs: 10 * 60_000,
  firstStep: 'branchReplica',
  steps: {
    branchReplica: async ({ deps }, { endpointId }) => {
      await unlessFull(WHAT, branchReplica(deps, endpointId));
      return goto('applySpec');
    },
    applySpec: async ({ deps }, { endpointId }) =>
      (await unlessFull(WHAT, pushEndpointSpec(deps, endpointId))) ? done : skipped,
  },
  onFailure: async ({ deps }, { projectId, endpointId }) => {
    await transact(deps, (work) => discardEndpoint(work, { projectId, endpointId }));
    await removeFromHost(deps, projectId);
  },
};

/** Its compute goes on starting when the answer comes, unless it is disabled. */
export async function createEndpoint(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  { branchId, ...input }: Parameters<Endpoints['create']>[2],
): Promise<EndpointChange> {
  await getBranchRow(context, principal, projectId, branchId);
  const project = await findProjectRow(context.metadata, projectId);
  if (!project) throw notFound('project', projectId);
  const wanted = checkNewEndpoint(context, project, input, 'endpoint.');
  if (input.type === 'read_only') await assertRoom(context);
  const { value: endpointId, operations } = await changeBranch(context, { projectId, branchId }, (command, branch) =>
    insertOne(command, branch, wanted),
  );
  return { endpoint: await getEndpoint(context, principal, projectId, endpointId), operations };
}

async function insertOne(command: Command, branch: BranchRow, wanted: CheckedEndpoint): Promise<EndpointId> {
  const { tx } = command;
  const { id: branchId, projectId } = branch;
  const endpointId = newEndpointId();
  checkFree(await listEndpointTypes(tx, branchId), branch, wanted);
  await insertEndpoint(tx, { ...wanted, id: endpointId, projectId, branchId });
  command.changeDirectory([endpointId]);
  const target = { projectId, branchId, endpointId };
  const making = await command.enqueue(makeEndpoint, { projectId, endpointId }, target);
  if (wanted.type === 'read_write') await forgetSettledChanges(tx, branchId);
  if (wanted.disabled) return endpointId;
  const catalogSeq = wanted.type === 'read_write' ? await findLastPendingSeq(tx, branchId) : 0;
  await command.enqueue(
    startCompute,
    { endpointId, catalogSeq },
    { ...target, dependsOn: [making] },
    { inBackground: true },
  );
  return endpointId;
}

/** @throws PlatformError CONFLICT, ENDPOINTS_LIMIT_EXCEEDED */
function checkFree(types: readonly string[], { name }: BranchRow, { type }: CheckedEndpoint): void {
  const count = types.filter((present) => present === type).length;
  if (type === 'read_write' && count > 0) {
    throw new PlatformError(
      'CONFLICT',
      `Cannot create the endpoint: branch ${printable(name)} has a read-write endpoint, and may have only one`,
    );
  }
  if (type === 'read_only' && count >= READ_ONLY_ENDPOINTS_MAX) {
    throw new PlatformError(
      'ENDPOINTS_LIMIT_EXCEEDED',
      `Cannot create the endpoint: the branch has ${READ_ONLY_ENDPOINTS_MAX} read-only endpoints, as many as it may have`,
    );
  }
}
