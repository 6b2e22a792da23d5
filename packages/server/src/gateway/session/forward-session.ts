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
  #hasClientLeft = false;

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
      this.#hasClientLeft = endsWithTerminate(chunk);
      if (!backend.write(chunk)) client.pause();
    });
    backend.on('data', (chunk: Buffer) => {
      this.#bytesToClient += chunk.length;
      this.#isAtBoundary = endsWithReadyForQuery(chunk);
      if (!client.write(chunk)) backend.pause();
    });
    client.on('drain', () => backend.resume());
    backend.on('drain', () => client.resume());
    client.on('end', () => {
      this.#hasClientLeft = true;
      backend.end();
    });
    backend.on('end', () => this.#loseBackend());
    client.on('close', () => this.#finish());
    backend.on('close', () => this.#loseBackend());
    this.#bytesToClient = toClient.length;
    client.write(toClient);
    if (toBackend.length > 0) {
      this.#bytesFromClient = toBackend.length;
      backend.write(toBackend);
    }
    if (client.destroyed) this.#finish();
    else if (backend.destroyed) this.#loseBackend();
    client.resume();
    backend.resume();
  }

  /** Ends the session for the client with 57P01, if its stream is where a message may begin. */
  terminate(): void {
    if (this.#isOpen && this.#isAtBoundary && this.#client.writable) this.#client.write(ADMIN_SHUTDOWN);
    this.#finish();
  }

  /**
   * A query that meets the end of its compute fails to be written, and the goodbye that Postgres has sent is lost with
   * the socket. The client is told all the same.
   */
  #loseBackend(): void {
    if (this.#hasClientLeft) this.#finish();
    else this.terminate();
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

const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4]);

/** May be wrong for the end of a longer message; then the client sees a plain close, as it always may. */
const endsWithTerminate = (chunk: Buffer): boolean =>
  chunk.length >= TERMINATE.length && chunk.subarray(-TERMINATE.length).equals(TERMINATE);

const READY_FOR_QUERY_HEAD = Buffer.from([0x5a, 0, 0, 0, 5]);

function endsWithReadyForQuery(chunk: Buffer): boolean {
  const at = chunk.length - 6;
  return at >= 0 && chunk[at] === 0x5a && chunk.compare(READY_FOR_QUERY_HEAD, 0, 5, at, at + 5) === 0;
}
