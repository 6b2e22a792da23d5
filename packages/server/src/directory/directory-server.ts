import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import type { Log } from '../kernel/log.ts';
import type { DirectoryEntry } from '../gateway/ports.ts';
import {
  type DirectoryChange,
  type GatewayMessage,
  HEARTBEAT_MS,
  readMessages,
  SILENCE_MAX_MS,
  writeMessage,
} from './messages.ts';

/** What the server reads; implemented by platform/directory. */
export interface DirectorySource {
  epoch(): Promise<string>;
  /** All changes after `sinceSeq` in commit order, then new ones as they are committed, until the signal aborts. */
  changes(sinceSeq: number, signal: AbortSignal): AsyncIterable<DirectoryChange>;
  find(endpointId: string): Promise<DirectoryEntry | null>;
}

interface DirectoryServerOptions {
  readonly source: DirectorySource;
  /** How many gateways there should be; one that is away may be coming back with an old copy. */
  readonly gateways: number;
  readonly log: Log;
}

interface Subscriber {
  readonly gateway: string;
  ackedSeq: number;
  counters: Readonly<Record<string, number>>;
}

/** How long a command's answer waits for gateways to have its change: past it, they are slow and the answer goes out. */
const BARRIER_MAX_MS = 1_000;

/** Control's side of the directory stream. */
export class DirectoryServer {
  readonly #source: DirectorySource;
  readonly #gatewaysExpected: number;
  readonly #log: Log;
  readonly #subscribers = new Map<Socket, Subscriber>();
  readonly #barriers = new Set<() => void>();
  #server: Server | undefined;

  constructor({ source, gateways, log }: DirectoryServerOptions) {
    this.#source = source;
    this.#gatewaysExpected = gateways;
    this.#log = log;
  }

  async listen(socketPath: string): Promise<void> {
    await rm(socketPath, { force: true });
    const server = createServer((socket) => this.#accept(socket));
    server.listen(socketPath);
    await once(server, 'listening');
    await chmod(socketPath, 0o600);
    this.#server = server;
  }

  async close(): Promise<void> {
    const closed = this.#server ? once(this.#server, 'close') : undefined;
    this.#server?.close();
    for (const socket of this.#subscribers.keys()) socket.destroy();
    await closed;
  }

  /** Gateways that are connected now, with their counters. */
  gateways(): readonly { readonly gateway: string; readonly counters: Readonly<Record<string, number>> }[] {
    return [...this.#subscribers.values()];
  }

  /** Resolves once every gateway has applied `seq`, or after a short bound. */
  async barrier(seq: number): Promise<void> {
    const isReached = (): boolean => {
      const fresh = [...this.#subscribers.values()].filter((s) => s.ackedSeq >= seq);
      return fresh.length >= Math.max(this.#gatewaysExpected, this.#subscribers.size);
    };
    if (isReached()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const check = (): void => {
      if (isReached()) resolve();
    };
    const timer = setTimeout(() => {
      this.#log.warn({ seq }, 'A gateway is late with the directory');
      resolve();
    }, BARRIER_MAX_MS);
    this.#barriers.add(check);
    await promise;
    clearTimeout(timer);
    this.#barriers.delete(check);
  }

  #accept(socket: Socket): void {
    const stop = new AbortController();
    socket.setTimeout(SILENCE_MAX_MS, () => socket.destroy());
    socket.on('error', (error) => this.#log.debug({ err: error }, 'Directory connection failed'));
    socket.once('close', () => {
      stop.abort();
      this.#subscribers.delete(socket);
      this.#checkBarriers();
    });
    readMessages(socket, (message: GatewayMessage) => {
      if (message.kind === 'hello') {
        this.#serve(socket, message, stop.signal).catch((error: unknown) => {
          if (!stop.signal.aborted) this.#log.warn({ err: error }, 'Directory stream ended');
          socket.destroy();
        });
        return;
      }
      this.#receive(socket, message);
    });
  }

  #receive(socket: Socket, message: Exclude<GatewayMessage, { kind: 'hello' }>): void {
    const subscriber = this.#subscribers.get(socket);
    switch (message.kind) {
      case 'ack':
        if (subscriber) subscriber.ackedSeq = message.seq;
        this.#checkBarriers();
        break;
      case 'find': {
        const answer = (entry: DirectoryEntry | null): void =>
          writeMessage(socket, { kind: 'found', id: message.id, entry });
        this.#source.find(message.endpointId).then(answer, (error: unknown) => {
          this.#log.warn({ err: error }, 'Cannot look up a directory entry');
          answer(null);
        });
        break;
      }
      case 'counters':
        if (subscriber) subscriber.counters = message.counters;
        break;
    }
  }

  async #serve(socket: Socket, hello: Extract<GatewayMessage, { kind: 'hello' }>, signal: AbortSignal): Promise<void> {
    const heartbeat = setInterval(() => writeMessage(socket, { kind: 'heartbeat' }), HEARTBEAT_MS);
    signal.addEventListener('abort', () => clearInterval(heartbeat), { once: true });
    const epoch = await this.#source.epoch();
    writeMessage(socket, { kind: 'welcome', epoch });
    const sinceSeq = hello.epoch === epoch ? hello.seq : 0;
    this.#subscribers.set(socket, { gateway: hello.gateway, ackedSeq: sinceSeq, counters: {} });
    for await (const change of this.#source.changes(sinceSeq, signal)) {
      writeMessage(socket, { kind: 'change', ...change });
      if (socket.writableNeedDrain) await once(socket, 'drain', { signal });
    }
  }

  #checkBarriers(): void {
    for (const check of this.#barriers) check();
  }
}
