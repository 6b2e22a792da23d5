import { isId, notFound } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Endpoint, Principal } from '../platform.ts';
import { getProjectAccess } from '../projects/project-access.ts';
import { listEndpointRows } from './endpoint-rows.ts';

/** @throws PlatformError NOT_FOUND */
export async function getEndpoint(
  { metadata, settings }: PlatformContext,
  principal: Principal,
  projectId: string,
  endpointId: string,
): Promise<Endpoint> {
  await getProjectAccess(metadata, principal, projectId);
  if (!isId(endpointId)) throw notFound('endpoint', endpointId);
  const [endpoint] = await listEndpointRows(metadata, { projectId, endpointId }, settings.domain);
  if (!endpoint) throw notFound('endpoint', endpointId);
  return endpoint;
}
