import { cstring, FieldReader, int32, message } from './fields.ts';
import { ProtocolError } from './protocol-error.ts';

/** What a client sends between startup and ReadyForQuery, and the little that we send as a client of a compute. */

export interface SaslInitialResponse {
  readonly mechanism: string;
  readonly data: string;
}

/** @throws ProtocolError if the inner length differs from what is there (CVE-2026-6664 of PgBouncer) or is absent (-1) */
export function parseSaslInitialResponse(body: Buffer): SaslInitialResponse {
  const reader = new FieldReader(body);
  const mechanism = reader.cstring();
  const length = reader.int32();
  if (length !== reader.remaining) throw new ProtocolError('invalid length of SASL initial response');
  return { mechanism, data: reader.bytes(length).toString('utf8') };
}

/** The password of a PasswordMessage. */
export function parsePassword(body: Buffer): string {
  const reader = new FieldReader(body);
  const password = reader.cstring();
  reader.end();
  return password;
}

export function saslInitialResponse(mechanism: string, data: string): Buffer {
  const bytes = Buffer.from(data);
  return message('p', cstring(mechanism), int32(bytes.length), bytes);
}

export function saslResponse(data: string): Buffer {
  return message('p', Buffer.from(data));
}
