import type { EndpointId } from '@tenantry/contract/ids.ts';
import type { PlatformDeps } from '../context.ts';
import { listEndpointIds } from '../endpoints/endpoint-rows.ts';
import { insertHostRemovals } from '../hosts/host-removal-rows.ts';
import { removeFromHost } from '../hosts/remove-from-host.ts';
import { deleteProjectRow, listVolumeIds } from './project-rows.ts';

/** Removes all that a project that is being deleted has on its host, then its rows. Harmless if repeated. */
export async function removeProject(deps: PlatformDeps, projectId: string): Promise<void> {
  await deps.metadata.transaction().execute(async (tx) => {
    const endpointIds = (await listEndpointIds(tx, { projectId })) as readonly EndpointId[];
    await insertHostRemovals(tx, projectId, { endpointIds, volumeIds: await listVolumeIds(tx, projectId) });
  });
  await removeFromHost(deps, projectId);
  await deleteProjectRow(deps.metadata, projectId);
}
