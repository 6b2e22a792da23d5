import type { Duplex } from 'node:stream';
import { FrameReader, type Frame } from '../../pgwire/frame-reader.ts';

/** The peer is gone. Nothing is left to tell it. */
export class DisconnectedError extends Error {
  override readonly name = 'DisconnectedError';
}

/** What we keep of a peer that sends while nobody reads; then it has to wait. */
const UNREAD_MAX_BYTES = 64 * 1024;

interface Waiter {
  /** Tries again with what has come; true if the wait is over. */
  readonly attempt: () => boolean;
  readonly reject: (error: Error) => void;
}

/**
 * Reads a socket packet by packet during login. It keeps reading between the calls, so that `closed` tells at once
 * when the peer leaves. Once login is done, `detach` gives the socket back for plain forwarding.
 */
export class MessageChannel {
  readonly socket: Duplex;
  readonly #reader = new FrameReader();
  readonly #closed = new AbortController();
  #waiter: Waiter | undefined;
  #cause: unknown;

  constructor(socket: Duplex) {
    this.socket = socket;
    socket.on('error', this.#onError);
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('close', this.#onEnd);
    if (socket.destroyed) this.#onEnd();
    else socket.resume();
  }

  /** Aborts when the peer has closed its side, or the socket broke. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /** The next byte, left in place. */
  async peek(): Promise<number> {
    return await this.#read(() => this.#reader.peek());
  }

  /** @throws ProtocolError, DisconnectedError; see `FrameReader.takePacket` */
  async readPacket(bodyMaxBytes: number): Promise<Buffer> {
    return await this.#read(() => this.#reader.takePacket(bodyMaxBytes));
  }

  /** @throws ProtocolError, DisconnectedError; see `FrameReader.takeMessage` */
  async readMessage(bodyMaxBytes: number): Promise<Frame> {
    return await this.#read(() => this.#reader.takeMessage(bodyMaxBytes));
  }

  write(bytes: Buffer): void {
    if (this.socket.writable) this.socket.write(bytes);
  }

  /** Stops reading and gives what was read and not taken. The socket is paused; errors of it stay caught. */
  detach(): Buffer {
    this.socket.off('data', this.#onData);
    this.socket.off('end', this.#onEnd);
    this.socket.off('close', this.#onEnd);
    this.socket.on('error', ignore).off('error', this.#onError);
    this.socket.pause();
    return this.#reader.takeRest();
  }

  async #read<T>(take: () => T | undefined): Promise<T> {
    const present = take();
    if (present !== undefined) return present;
    if (this.#closed.signal.aborted) throw this.#disconnected();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const attempt = (): boolean => {
      const value = take();
      if (value !== undefined) resolve(value);
      return value !== undefined;
    };
    this.#waiter = { attempt, reject };
    if (this.socket.isPaused()) this.socket.resume();
    return await promise;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#reader.push(chunk);
    const waiter = this.#waiter;
    try {
      if (waiter?.attempt()) this.#waiter = undefined;
    } catch (error) {
      this.#waiter = undefined;
      waiter?.reject(error instanceof Error ? error : new Error(String(error)));
    }
    if (!this.#waiter && this.#reader.size > UNREAD_MAX_BYTES) this.socket.pause();
  };

  readonly #onError = (error: Error): void => {
    this.#cause ??= error;
  };

  readonly #onEnd = (): void => {
    this.#waiter?.reject(this.#disconnected());
    this.#waiter = undefined;
    this.#closed.abort(this.#disconnected());
  };

  #disconnected(): DisconnectedError {
    return new DisconnectedError('The peer closed the connection', { cause: this.#cause });
  }
}

/** A broken socket closes, and that is what everybody listens for. */
const ignore = (): void => {};
