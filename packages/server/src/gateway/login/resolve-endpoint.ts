import { endpointMalformed, endpointsDiffer } from '../error-response.ts';

const POOLER_SUFFIX = '-pooler';

/**
 * The endpoint that a client names by SNI or by the `options` word; undefined if by neither.
 * @param serverName SNI. Its first label names the endpoint if the rest is our domain; any other name says nothing.
 * @throws GatewayError if the two differ, or if a name has characters that no endpoint has
 */
export function resolveEndpoint(
  serverName: string | undefined,
  option: string | undefined,
  domain: string,
): string | undefined {
  const label = endpointOfServerName(serverName, domain);
  const bySni = label === undefined ? undefined : toEndpointId(label);
  const byOption = option === undefined ? undefined : toEndpointId(option);
  if (bySni !== undefined && byOption !== undefined && bySni !== byOption) {
    throw endpointsDiffer(bySni, byOption);
  }
  return bySni ?? byOption;
}

/** The endpoint id of a name as clients write it: any case, `-pooler` or not. */
export function toEndpointId(name: string): string {
  const id = name.toLowerCase();
  if (!/^[a-z0-9-]{1,63}$/.test(id)) throw endpointMalformed(printable(name));
  return id.endsWith(POOLER_SUFFIX) ? id.slice(0, -POOLER_SUFFIX.length) : id;
}

function endpointOfServerName(serverName: string | undefined, domain: string): string | undefined {
  const name = serverName?.toLowerCase() ?? '';
  const suffix = `.${domain}`;
  const label = name.endsWith(suffix) ? name.slice(0, -suffix.length) : '';
  return label === '' || label.includes('.') ? undefined : label;
}

const printable = (text: string): string => text.slice(0, 64).replaceAll(/[^\x20-\x7e]/g, '?');
