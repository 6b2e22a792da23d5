import { createHmac } from 'node:crypto';
import type { ScramVerifier } from '../kernel/scram-verifier.ts';

/**
 * The verifier that stands in for a role which does not exist: nobody can tell the two apart, because the salt is the
 * same at every try (Postgres' `mock_scram_secret`) and the iterations are those of real ones. No password fits it.
 */
export function mockVerifier(secret: Buffer, endpointId: string, user: string): ScramVerifier {
  const derive = (purpose: string): Buffer =>
    createHmac('sha256', secret)
      .update(JSON.stringify([purpose, endpointId, user]))
      .digest();
  return {
    iterations: 4096,
    salt: derive('salt').subarray(0, 16),
    storedKey: derive('stored key'),
    serverKey: derive('server key'),
  };
}
