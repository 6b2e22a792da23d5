import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { saslprep } from '@mongodb-js/saslprep';

/** What Postgres keeps of a password (pg_authid.rolpassword), RFC 5802 and RFC 7677. */
export interface ScramVerifier {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** Of Postgres, and the least that RFC 7677 allows. */
const DEFAULT_ITERATIONS = 4096;

/** What a verifier of a role may ask for: with fewer a leaked one is soon guessed, with more a login burns the CPU. */
const ITERATIONS = { min: 4096, max: 100_000 } as const;

/** Makes the verifier text `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>` for a password. */
export function makeVerifier(password: string, iterations = DEFAULT_ITERATIONS, salt = randomBytes(16)): string {
  const saltedPassword = pbkdf2Sync(preparePassword(password), salt, iterations, 32, 'sha256');
  const clientKey = createHmac('sha256', saltedPassword).update('Client Key').digest();
  const storedKey = createHash('sha256').update(clientKey).digest();
  const serverKey = createHmac('sha256', saltedPassword).update('Server Key').digest();
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey.toString('base64')}:${serverKey.toString('base64')}`;
}

/**
 * Parses a verifier; undefined for anything else (an md5 hash, say), or an iteration count out of bounds.
 * @param iterationsMin less only where no login is checked against it, or for the platform's own random password
 */
export function parseVerifier(text: string, iterationsMin: number = ITERATIONS.min): ScramVerifier | undefined {
  const match = /^SCRAM-SHA-256\$(\d{1,7}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})$/.exec(text);
  if (!match) return undefined;
  const [, iterations = '', salt = '', storedKey = '', serverKey = ''] = match;
  const count = Number(iterations);
  if (count < iterationsMin || count > ITERATIONS.max) return undefined;
  return {
    iterations: count,
    salt: Buffer.from(salt, 'base64'),
    storedKey: Buffer.from(storedKey, 'base64'),
    serverKey: Buffer.from(serverKey, 'base64'),
  };
}

/** SASLprep as Postgres applies it: a password that cannot be prepared is used as it is. */
export function preparePassword(password: string): string {
  try {
    return saslprep(password, { allowUnassigned: true });
  } catch {
    return password;
  }
}
