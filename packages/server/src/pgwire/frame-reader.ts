import { ProtocolError } from './protocol-error.ts';

export interface Frame {
  /** One character, such as `p`. */
  readonly type: string;
  readonly body: Buffer;
  /** The message as it came, header included. */
  readonly raw: Buffer;
}

/**
 * Cuts a byte stream into packets and messages, wherever the network split it. Lengths are checked before anything is
 * collected, so it never holds more than what was pushed and not yet taken.
 */
export class FrameReader {
  #chunks: Buffer[] = [];
  #size = 0;

  /** Bytes pushed and not taken. */
  get size(): number {
    return this.#size;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  /** The next byte, left in place. */
  peek(): number | undefined {
    return this.#chunks[0]?.[0];
  }

  /**
   * The body of the next packet without type byte (the start of a connection), or undefined until it is whole.
   * @param bodyMaxBytes bound of what follows the length field
   * @throws ProtocolError for a length out of bounds
   */
  takePacket(bodyMaxBytes: number): Buffer | undefined {
    if (this.#size < 4) return undefined;
    const length = this.#head(4).readInt32BE();
    if (length < 8 || length - 4 > bodyMaxBytes) throw new ProtocolError('invalid length of startup packet');
    return this.#size < length ? undefined : this.#take(length).subarray(4);
  }

  /**
   * The next message, or undefined until it is whole.
   * @throws ProtocolError for a length out of bounds
   */
  takeMessage(bodyMaxBytes: number): Frame | undefined {
    if (this.#size < 5) return undefined;
    const head = this.#head(5);
    const length = head.readInt32BE(1);
    if (length < 4 || length - 4 > bodyMaxBytes) throw new ProtocolError('invalid message length');
    if (this.#size < length + 1) return undefined;
    const raw = this.#take(length + 1);
    return { type: String.fromCharCode(raw.readUInt8()), body: raw.subarray(5), raw };
  }

  /** All bytes not taken. */
  takeRest(): Buffer {
    return this.#take(this.#size);
  }

  /** The first chunk, made at least `length` bytes long. The caller has checked that they are there. */
  #head(length: number): Buffer {
    let [first = Buffer.alloc(0)] = this.#chunks;
    for (let count = 2; first.length < length; count++) {
      first = Buffer.concat(this.#chunks.splice(0, count));
      this.#chunks.unshift(first);
    }
    return first;
  }

  #take(length: number): Buffer {
    const [first = Buffer.alloc(0)] = this.#chunks;
    const all = first.length >= length ? first : Buffer.concat(this.#chunks);
    this.#chunks = all === first ? this.#chunks.slice(1) : [];
    if (all.length > length) this.#chunks.unshift(all.subarray(length));
    this.#size -= length;
    return all.subarray(0, length);
  }
}
