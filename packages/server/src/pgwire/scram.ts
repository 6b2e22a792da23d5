import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { preparePassword, type ScramVerifier } from '../kernel/scram-verifier.ts';
import { ProtocolError } from './protocol-error.ts';

/** Parts that both sides of SCRAM-SHA-256 share (RFC 5802, RFC 7677). */

export const SCRAM_SHA_256 = 'SCRAM-SHA-256';
export const SCRAM_SHA_256_PLUS = 'SCRAM-SHA-256-PLUS';

const KEY_BYTES = 32;

export const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

export const hash = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

export function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, i) => byte ^ (b[i] ?? 0)));
}

/**
 * The attributes of a message such as `r=abc,s=QSXCR+Q6,i=4096`, which must begin with exactly those named.
 * What follows them (extensions) is allowed, except a mandatory one (`m=`), which by RFC 5802 must be refused.
 */
export function scramAttributes<const Names extends readonly string[]>(
  text: string,
  names: Names,
): { [I in keyof Names]: string } {
  const parts = text.split(',');
  const values = names.map((name, i) => {
    const part = parts[i];
    if (!part?.startsWith(`${name}=`)) throw new ProtocolError(`malformed SCRAM message: expected attribute ${name}`);
    return part.slice(2);
  });
  return values as { [I in keyof Names]: string };
}

/** Decodes base64 that must be canonical, as one value must have one form in what is signed. */
export function scramBase64(text: string, lengthBytes?: number): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text || (lengthBytes !== undefined && bytes.length !== lengthBytes)) {
    throw new ProtocolError('malformed SCRAM message: invalid base64');
  }
  return bytes;
}

/** RFC 5802 `printable`: what a nonce may hold. */
export const isScramNonce = (text: string): boolean => /^[\x21-\x2b\x2d-\x7e]+$/.test(text);

const pbkdf2Async = promisify(pbkdf2);

/**
 * ClientKey for a password under a verifier's salt and iterations; undefined if it is not the verifier's password.
 * Runs in the thread pool: about a millisecond at 4096 iterations.
 */
export async function clientKeyOfPassword(password: string, verifier: ScramVerifier): Promise<Buffer | undefined> {
  const { salt, iterations } = verifier;
  const salted = await pbkdf2Async(preparePassword(password), salt, iterations, KEY_BYTES, 'sha256');
  const clientKey = hmac(salted, 'Client Key');
  return isKeyOf(verifier, clientKey) ? clientKey : undefined;
}

/** Whether StoredKey of the verifier is the hash of this ClientKey. */
export function isKeyOf(verifier: ScramVerifier, clientKey: Buffer): boolean {
  return equalBytes(hash(clientKey), verifier.storedKey);
}

export function equalBytes(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
