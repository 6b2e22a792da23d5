import type { EndpointId } from '@tenantry/contract/ids.ts';
import { listVolumes } from '../branches/branch-rows.ts';
import { unlessNotFound } from '../command/unless-not-found.ts';
import type { PlatformDeps } from '../context.ts';
import { listEndpointIds } from '../endpoints/endpoint-rows.ts';

/** Removes all that a project that is being deleted has on its host. Harmless if repeated. */
export async function removeFromHost({ metadata, host }: PlatformDeps, projectId: string): Promise<void> {
  for (const endpointId of await listEndpointIds(metadata, { projectId })) {
    await unlessNotFound(host.removeEndpoint(endpointId as EndpointId));
  }
  for (const { volumeId } of await listVolumes(metadata, projectId)) {
    await unlessNotFound(host.deleteVolume(volumeId));
  }
}
