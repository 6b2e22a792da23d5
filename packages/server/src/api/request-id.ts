import { randomUUID } from 'node:crypto';

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** The id that the client gave in `X-Request-ID` if it is well-formed, else a new one. */
export function requestIdOf(headers: Readonly<Record<string, string | string[] | undefined>>): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
}

/** Headers of every answer; the second is where Neon's CLI looks. */
export const requestIdHeaders = (requestId: string): Record<string, string> => ({
  'x-request-id': requestId,
  'x-neon-ret-request-id': requestId,
});
