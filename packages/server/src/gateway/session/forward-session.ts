import type { Duplex } from 'node:stream';
import { closeAfter } from './close-socket.ts';
import { ADMIN_SHUTDOWN } from '../error-response.ts';

export interface SessionEnd {
  readonly bytesToClient: number;
  readonly bytesFromClient: number;
}

/**
 * Bytes both ways between a client and the compute's session that is its own, by chunk and not by message.
 * States and events: SESSION.spec.md.
 */
export class ForwardSession {
  readonly #client: Duplex;
  readonly #backend: Duplex;
  readonly #onEnd: (end: SessionEnd) => void;
  #bytesToClient = 0;
  #bytesFromClient = 0;
  #isOpen = true;
  /** The last thing the client got is a whole ReadyForQuery, so a message of our own may follow. */
  #isAtBoundary = true;

  /** @param onEnd called once, as soon as the session can carry nothing more */
  constructor(client: Duplex, backend: Duplex, onEnd: (end: SessionEnd) => void) {
    this.#client = client;
    this.#backend = backend;
    this.#onEnd = onEnd;
  }

  /** @param toClient ends with ReadyForQuery @param toBackend what the client sent ahead of time */
  start(toClient: Buffer, toBackend: Buffer): void {
    const client = this.#client;
    const backend = this.#backend;
    client.on('data', (chunk: Buffer) => {
      this.#bytesFromClient += chunk.length;
      if (!backend.write(chunk)) client.pause();
    });
    backend.on('data', (chunk: Buffer) => {
      this.#bytesToClient += chunk.length;
      this.#isAtBoundary = endsWithReadyForQuery(chunk);
      if (!client.write(chunk)) backend.pause();
    });
    client.on('drain', () => backend.resume());
    backend.on('drain', () => client.resume());
    client.on('end', () => backend.end());
    backend.on('end', () => this.#finish());
    client.on('close', () => this.#finish());
    backend.on('close', () => this.#finish());
    this.#bytesToClient = toClient.length;
    client.write(toClient);
    if (toBackend.length > 0) {
      this.#bytesFromClient = toBackend.length;
      backend.write(toBackend);
    }
    if (client.destroyed || backend.destroyed) this.#finish();
    client.resume();
    backend.resume();
  }

  /** Ends the session for the client with 57P01, if its stream is where a message may begin. */
  terminate(): void {
    if (this.#isOpen && this.#isAtBoundary && this.#client.writable) this.#client.write(ADMIN_SHUTDOWN);
    this.#finish();
  }

  /** The compute has said its last, or the client is gone. What was sent is delivered before the close. */
  #finish(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#backend.destroy();
    this.#client.removeAllListeners('data');
    closeAfter(this.#client);
    this.#onEnd({ bytesToClient: this.#bytesToClient, bytesFromClient: this.#bytesFromClient });
  }
}

const READY_FOR_QUERY_HEAD = Buffer.from([0x5a, 0, 0, 0, 5]);

function endsWithReadyForQuery(chunk: Buffer): boolean {
  const at = chunk.length - 6;
  return at >= 0 && chunk[at] === 0x5a && chunk.compare(READY_FOR_QUERY_HEAD, 0, 5, at, at + 5) === 0;
}
