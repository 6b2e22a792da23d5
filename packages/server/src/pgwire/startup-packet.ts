import { cstring, FieldReader, int32, packet } from './fields.ts';
import { ProtocolError } from './protocol-error.ts';

/** MAX_STARTUP_PACKET_LENGTH of Postgres: bytes after the length field. */
export const STARTUP_BODY_MAX_BYTES = 10_000;

export const PROTOCOL_3_0 = 3 << 16;
export const PROTOCOL_3_2 = (3 << 16) | 2;

const CANCEL_REQUEST = (1234 << 16) | 5678;
const SSL_REQUEST = (1234 << 16) | 5679;
const GSS_ENC_REQUEST = (1234 << 16) | 5680;

/** Length of a cancel key: 4 bytes in protocol 3.0, up to 256 since 3.2. */
const CANCEL_KEY_BYTES = { min: 4, max: 256 } as const;

export interface CancelKey {
  /** Unsigned, as it stands in the bytes. */
  readonly processId: number;
  readonly secret: Buffer;
}

export type StartupPacket =
  | { readonly kind: 'ssl_request' }
  | { readonly kind: 'gss_enc_request' }
  | { readonly kind: 'cancel_request'; readonly key: CancelKey }
  | {
      readonly kind: 'startup';
      /** Minor version asked for, of protocol 3. */
      readonly minor: number;
      /** In the order of the packet; a later value of a name replaces the earlier, as in Postgres. */
      readonly parameters: ReadonlyMap<string, string>;
    }
  | { readonly kind: 'unsupported_version'; readonly major: number; readonly minor: number };

/**
 * Parses the body of a packet of the start of a connection.
 * @throws ProtocolError in the words of Postgres (`ProcessStartupPacket`)
 */
export function parseStartupPacket(body: Buffer): StartupPacket {
  const reader = new FieldReader(body);
  const code = reader.uint32();
  if (code === CANCEL_REQUEST) return parseCancelRequest(reader);
  if (code === SSL_REQUEST && reader.remaining === 0) return { kind: 'ssl_request' };
  if (code === GSS_ENC_REQUEST && reader.remaining === 0) return { kind: 'gss_enc_request' };
  const major = code >>> 16;
  const minor = code & 0xffff;
  if (major !== 3) return { kind: 'unsupported_version', major, minor };
  return { kind: 'startup', minor, parameters: parseParameters(reader) };
}

function parseCancelRequest(reader: FieldReader): StartupPacket {
  const length = reader.remaining - 4;
  if (length < CANCEL_KEY_BYTES.min || length > CANCEL_KEY_BYTES.max) {
    throw new ProtocolError('invalid length of cancel request');
  }
  return { kind: 'cancel_request', key: { processId: reader.uint32(), secret: reader.bytes(length) } };
}

function parseParameters(reader: FieldReader): Map<string, string> {
  const parameters = new Map<string, string>();
  while (reader.remaining > 1) {
    const name = reader.cstring();
    if (name === '' || reader.remaining === 0) break;
    parameters.set(name, reader.cstring());
  }
  if (reader.remaining !== 1 || reader.byte() !== 0) {
    throw new ProtocolError('invalid startup packet layout: expected terminator as last byte');
  }
  return parameters;
}

/** A StartupMessage of protocol 3.0. */
export function startupMessage(parameters: Iterable<readonly [string, string]>): Buffer {
  const fields = [...parameters].flatMap(([name, value]) => [cstring(name), cstring(value)]);
  return packet(int32(PROTOCOL_3_0), ...fields, Buffer.alloc(1));
}

export function cancelRequest(key: CancelKey): Buffer {
  return packet(int32(CANCEL_REQUEST), int32(key.processId), key.secret);
}
