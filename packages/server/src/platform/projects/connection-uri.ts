import type { EndpointId } from '@tenantry/contract/ids.ts';
import type { Secret } from '../../kernel/secret.ts';
import type { PlatformSettings } from '../context.ts';
import type { ConnectionInfo } from '../platform.ts';

const LOCAL_DOMAIN = 'localhost';
const DEFAULT_PORT = 5432;

/** Names below `localhost` do not resolve everywhere, so there the endpoint is named in the options. */
export const toHostname = (domain: string, endpointId: EndpointId, isPooled = false): string =>
  domain === LOCAL_DOMAIN ? LOCAL_DOMAIN : `${endpointId}${isPooled ? '-pooler' : ''}.${domain}`;

export interface ConnectionTarget {
  readonly endpointId: EndpointId;
  readonly role: string;
  readonly database: string;
  readonly password: Secret;
  readonly isPooled: boolean;
}

/**
 * How to connect as a role. A local URI carries no `sslmode`: some clients take `require` as "verify against the
 * system's authorities", and the gateway takes plain text from this machine.
 */
export function toConnectionInfo(
  { domain, pgPort }: Pick<PlatformSettings, 'domain' | 'pgPort'>,
  { endpointId, role, database, password, isPooled }: ConnectionTarget,
): ConnectionInfo {
  const user = `${encode(role)}:${encode(password.reveal())}`;
  const address =
    domain === LOCAL_DOMAIN
      ? {
          host: `${LOCAL_DOMAIN}:${pgPort}`,
          parameters: `options=endpoint%3D${endpointId}${isPooled ? '-pooler' : ''}`,
        }
      : {
          host: `${toHostname(domain, endpointId, isPooled)}${pgPort === DEFAULT_PORT ? '' : `:${pgPort}`}`,
          parameters: 'sslmode=require&channel_binding=require',
        };
  return {
    connectionUri: `postgresql://${user}@${address.host}/${encode(database)}?${address.parameters}`,
    database,
    role,
    password,
    host: toHostname(domain, endpointId),
    poolerHost: toHostname(domain, endpointId, true),
  };
}

/** Every character that any URI parser might take for something else. */
const encode = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
