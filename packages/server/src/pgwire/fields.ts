import { ProtocolError } from './protocol-error.ts';

/** Big-endian integers and NUL-terminated strings: what messages are made of. */
export function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value | 0);
  return bytes;
}

/** @throws ProtocolError if the text holds a NUL, which would end it early */
export function cstring(text: string): Buffer {
  if (text.includes('\0')) throw new ProtocolError('a string holds a NUL byte');
  return Buffer.from(`${text}\0`);
}

/** A message: type byte, length that counts itself, body. */
export function message(type: string, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const head = Buffer.allocUnsafe(5);
  head.write(type, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

/** A packet of the start of a connection: as a message, without the type byte. */
export function packet(...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([int32(body.length + 4), body]);
}

/** Reads fields from one whole message body. Each read throws `ProtocolError` where the body is too short. */
export class FieldReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  byte(): number {
    return this.bytes(1).readUInt8();
  }

  int32(): number {
    return this.bytes(4).readInt32BE();
  }

  uint32(): number {
    return this.bytes(4).readUInt32BE();
  }

  cstring(): string {
    const end = this.#bytes.indexOf(0, this.#offset);
    if (end === -1) throw new ProtocolError('a string lacks its terminator');
    const text = this.#bytes.toString('utf8', this.#offset, end);
    this.#offset = end + 1;
    return text;
  }

  bytes(length: number): Buffer {
    if (length < 0 || length > this.remaining) throw new ProtocolError('insufficient data left in message');
    const bytes = this.#bytes.subarray(this.#offset, this.#offset + length);
    this.#offset += length;
    return bytes;
  }

  /** @throws ProtocolError if something is left */
  end(): void {
    if (this.remaining > 0) throw new ProtocolError('invalid message format');
  }
}
