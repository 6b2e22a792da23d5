import type { FastifyRequest } from 'fastify';
import { PlatformError } from '../kernel/errors.ts';
import type { Platform, Principal } from '../platform/platform.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by `authenticate` before any handler under /api/v2 runs. */
    principal: Principal | null;
  }
}

const BEARER = /^Bearer +([\x21-\x7e]{1,256})$/i;

/** The key that a request brings, whether or not there is such a key. */
export const bearerKey = (request: FastifyRequest): string | undefined =>
  BEARER.exec(request.headers.authorization ?? '')?.[1];

/** @throws PlatformError UNAUTHENTICATED */
export async function authenticate(platform: Platform, request: FastifyRequest): Promise<Principal> {
  const key = bearerKey(request);
  if (key === undefined) {
    throw new PlatformError('UNAUTHENTICATED', 'Cannot authenticate: send the header Authorization: Bearer <API key>');
  }
  return platform.accounts.authenticate(key, request.ip);
}
