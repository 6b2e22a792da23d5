import { cstring, FieldReader, int32, message } from './fields.ts';
import { ProtocolError } from './protocol-error.ts';
import type { CancelKey } from './startup-packet.ts';

/** What Postgres sends during login: we send it to clients, and read it from computes. */

export const authenticationOk = (): Buffer => message('R', int32(0));

export const authenticationCleartextPassword = (): Buffer => message('R', int32(3));

export const authenticationSasl = (mechanisms: readonly string[]): Buffer =>
  message('R', int32(10), ...mechanisms.map(cstring), Buffer.alloc(1));

export const authenticationSaslContinue = (data: string): Buffer => message('R', int32(11), Buffer.from(data));

export const authenticationSaslFinal = (data: string): Buffer => message('R', int32(12), Buffer.from(data));

/** @param version the newest that we speak of the major version asked for, as `major << 16 | minor` */
export const negotiateProtocolVersion = (version: number, unknownOptions: readonly string[]): Buffer =>
  message('v', int32(version), int32(unknownOptions.length), ...unknownOptions.map(cstring));

export const parameterStatus = (name: string, value: string): Buffer => message('S', cstring(name), cstring(value));

export const backendKeyData = (key: CancelKey): Buffer => message('K', int32(key.processId), key.secret);

export const readyForQuery = (status: 'I' | 'T' | 'E' = 'I'): Buffer => message('Z', Buffer.from(status));

export interface ErrorFields {
  readonly severity: string;
  readonly sqlstate: string;
  readonly message: string;
}

export const errorResponse = ({ severity, sqlstate, message: text }: ErrorFields): Buffer => {
  const field = (type: string, value: string): Buffer => cstring(type + value.replaceAll('\0', ''));
  return message(
    'E',
    field('S', severity),
    field('V', severity),
    field('C', sqlstate),
    field('M', text),
    Buffer.alloc(1),
  );
};

/** The error that a client of protocol 2 understands: text up to a NUL, no length. */
export const errorResponseV2 = (text: string): Buffer =>
  Buffer.concat([Buffer.from('E'), cstring(`FATAL:  ${text}\n`)]);

export type AuthenticationRequest =
  | { readonly kind: 'ok' }
  | { readonly kind: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly kind: 'sasl_continue'; readonly data: string }
  | { readonly kind: 'sasl_final'; readonly data: string }
  | { readonly kind: 'other'; readonly code: number };

export function parseAuthentication(body: Buffer): AuthenticationRequest {
  const reader = new FieldReader(body);
  const code = reader.int32();
  const data = (): string => reader.bytes(reader.remaining).toString('utf8');
  switch (code) {
    case 0:
      return { kind: 'ok' };
    case 10:
      return { kind: 'sasl', mechanisms: parseMechanisms(reader) };
    case 11:
      return { kind: 'sasl_continue', data: data() };
    case 12:
      return { kind: 'sasl_final', data: data() };
    default:
      return { kind: 'other', code };
  }
}

function parseMechanisms(reader: FieldReader): string[] {
  const mechanisms: string[] = [];
  for (let name = reader.cstring(); name !== ''; name = reader.cstring()) mechanisms.push(name);
  return mechanisms;
}

export function parseBackendKeyData(body: Buffer): CancelKey {
  const reader = new FieldReader(body);
  const processId = reader.uint32();
  if (reader.remaining < 4 || reader.remaining > 256) throw new ProtocolError('invalid length of cancel key');
  return { processId, secret: Buffer.from(reader.bytes(reader.remaining)) };
}

/** Fields that are absent come as empty text; a broken message is no reason to fail twice (CVE-2026-6666). */
export function parseErrorResponse(body: Buffer): ErrorFields {
  const fields = new Map<string, string>();
  for (const field of body.toString('utf8').split('\0')) {
    if (field !== '') fields.set(field.slice(0, 1), field.slice(1));
  }
  return {
    severity: fields.get('V') ?? fields.get('S') ?? '',
    sqlstate: fields.get('C') ?? '',
    message: fields.get('M') ?? '',
  };
}
