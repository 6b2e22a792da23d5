import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { messageOf } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';

/** Time for a question that the worker asked has to pass on to a compute. */
const ASK_TIMEOUT_MS = 5_000;

/** Time for news, which a client may be waiting for. */
const TELL_TIMEOUT_MS = 1_000;

/** What workers say to one another. Each kind is answered with yes or no. */
export interface WorkerMessages {
  /** Is this a session of yours? Then cancel what runs in it. The secret is hexadecimal. */
  cancel: { readonly processId: number; readonly secret: string };
  missed_cancel: { readonly prefix: string };
  wrong_password: { readonly endpointId: string; readonly address: string };
  outdated_password: { readonly endpointId: string; readonly address: string };
}

type Handlers = { [K in keyof WorkerMessages]?: (message: WorkerMessages[K]) => Promise<boolean> | boolean };

export interface WorkerLinkOptions {
  readonly workerIndex: number;
  readonly workers: number;
  /** Directory of the workers' sockets; must exist and be private. */
  readonly runDir: string;
  readonly log: Log;
}

/**
 * Joins the gateway workers that share a port: the kernel brings a client to any of them, so that keys and counts of one
 * must be known to all. A message is a connection: JSON, end, and a letter back.
 */
export class WorkerLink {
  readonly #options: WorkerLinkOptions;
  readonly #handlers: Handlers = {};
  readonly #server: Server;

  constructor(options: WorkerLinkOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => void this.#answer(socket));
  }

  /** Listens for the other workers. */
  async listen(): Promise<void> {
    const path = this.#socketPath(this.#options.workerIndex);
    await rm(path, { force: true });
    this.#server.listen(path);
    await once(this.#server, 'listening');
    this.#server.on('error', (error) => this.#options.log.error({ err: error }, 'cannot accept other workers'));
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Who answers messages of this kind. */
  handle<K extends keyof WorkerMessages>(kind: K, handler: NonNullable<Handlers[K]>): void {
    this.#handlers[kind] = handler;
  }

  /** Asks one worker. @throws if it is away or does not answer within 5 s */
  async ask<K extends keyof WorkerMessages>(worker: number, kind: K, message: WorkerMessages[K]): Promise<boolean> {
    return await this.#send(worker, kind, message, ASK_TIMEOUT_MS);
  }

  /** Done when all other workers know, or after 1 s. Never throws: a worker that is away comes back knowing nothing. */
  async tellOthers<K extends keyof WorkerMessages>(kind: K, message: WorkerMessages[K]): Promise<void> {
    const { workerIndex, workers, log } = this.#options;
    const others = Array.from({ length: workers }, (_, index) => index).filter((index) => index !== workerIndex);
    await Promise.all(
      others.map(async (worker) => {
        try {
          await this.#send(worker, kind, message, TELL_TIMEOUT_MS);
        } catch (error) {
          log.debug({ worker, kind, reason: messageOf(error) }, 'cannot tell another worker');
        }
      }),
    );
  }

  async #send<K extends keyof WorkerMessages>(
    worker: number,
    kind: K,
    message: WorkerMessages[K],
    timeoutMs: number,
  ): Promise<boolean> {
    const socket = connect(this.#socketPath(worker));
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`Gateway worker ${worker} did not answer in time`)));
    socket.end(JSON.stringify({ kind, message }));
    return (await text(socket)) === YES;
  }

  async #answer(socket: Socket): Promise<void> {
    socket.setTimeout(ASK_TIMEOUT_MS, () => socket.destroy());
    socket.on('error', () => {});
    try {
      // Reading to the end would destroy the socket, and the answer with it, in some versions of Node.
      const words = await text(socket.iterator({ destroyOnReturn: false }));
      const { kind, message } = JSON.parse(words) as { kind: keyof WorkerMessages; message: never };
      socket.end((await this.#handlers[kind]?.(message)) ? YES : NO);
    } catch (error) {
      this.#options.log.warn({ err: error }, 'cannot answer another worker');
      socket.destroy();
    }
  }

  #socketPath(workerIndex: number): string {
    return join(this.#options.runDir, `gateway-${workerIndex}.sock`);
  }
}

const YES = 'Y';
const NO = 'N';
