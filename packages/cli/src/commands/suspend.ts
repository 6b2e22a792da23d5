import { isEndpointId } from '@tenantry/contract/ids.ts';
import type { Target } from '../target.ts';

/** The endpoint that a connection URI names, in its options or as the first label of its host. */
function endpointOf(idOrUri: string): string {
  if (isEndpointId(idOrUri)) return idOrUri;
  if (URL.canParse(idOrUri)) {
    const { hostname, searchParams } = new URL(idOrUri);
    const option = /endpoint=([a-z0-9-]+)/.exec(searchParams.get('options') ?? '')?.[1];
    const id = (option ?? hostname.split('.')[0] ?? '').replace(/-pooler$/, '');
    if (isEndpointId(id)) return id;
  }
  throw new Error(
    `Cannot tell the endpoint from "${idOrUri.replace(/:[^:@/]*@/, ':***@')}": give an id (ep-...) or a connection URI`,
  );
}

/** `tenantry suspend`. */
export async function suspend(target: Target, [idOrUri]: readonly string[]): Promise<void> {
  if (idOrUri === undefined) throw new Error('Cannot suspend: name an endpoint id (ep-...) or a connection URI');
  const id = endpointOf(idOrUri);
  const { project_id } = (await target.call('GET', `/status/endpoints/${id}`)) as { readonly project_id: string };
  await target.call('POST', `/api/v2/projects/${project_id}/endpoints/${id}/suspend`);
  console.log(`Suspended ${id}`);
}
