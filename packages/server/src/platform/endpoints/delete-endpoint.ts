import type { EndpointId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { changeBranch } from '../branches/change-branch.ts';
import { printable } from '../checks.ts';
import type { Work } from '../command/transact.ts';
import type { PlatformContext } from '../context.ts';
import { insertHostRemovals } from '../hosts/host-removal-rows.ts';
import { removeEndpoints } from '../hosts/remove-from-host.ts';
import type { EndpointChange, Principal } from '../platform.ts';
import { findReplicaVolume } from './endpoint-rows.ts';
import { getEndpoint } from './get-endpoint.ts';

/** @throws PlatformError CONFLICT if its branch is protected */
export async function deleteEndpoint(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  endpointId: string,
): Promise<EndpointChange> {
  const endpoint = await getEndpoint(context, principal, projectId, endpointId);
  const { branchId } = endpoint;
  const { operations } = await changeBranch(context, { projectId, branchId }, async (command, branch) => {
    if (branch.isProtected) {
      throw new PlatformError(
        'CONFLICT',
        `Cannot delete endpoint ${endpoint.id}: branch ${printable(branch.name)} is protected. Set branch.protected to false first`,
      );
    }
    await discardEndpoint(command, { projectId, endpointId: endpoint.id });
    // The endpoint is named although it is gone: clients ask of which the operation is.
    await command.enqueue(removeEndpoints, { projectId }, { projectId, branchId, endpointId: endpoint.id });
  });
  return { endpoint: { ...endpoint, state: 'idle', pendingState: null }, operations };
}

/** Deletes the row, and notes what the host must remove. Harmless if repeated. */
export async function discardEndpoint(
  { tx, changeDirectory }: Work,
  { projectId, endpointId }: { readonly projectId: string; readonly endpointId: EndpointId },
): Promise<void> {
  const replica = await findReplicaVolume(tx, endpointId);
  const volumeIds = replica ? [replica.volumeId] : [];
  await insertHostRemovals(tx, projectId, { endpointIds: [endpointId], volumeIds });
  await tx.deleteFrom('endpoints').where('id', '=', endpointId).execute();
  changeDirectory([endpointId]);
}
