import { connect, type Socket } from 'node:net';
import type { Log } from '../kernel/log.ts';
import { backoffMs } from '../kernel/wait.ts';
import type { DirectoryEntry, EndpointDirectory } from '../gateway/ports.ts';
import { DirectoryCopy } from './directory-copy.ts';
import { type ControlMessage, HEARTBEAT_MS, readMessages, SILENCE_MAX_MS, writeMessage } from './messages.ts';

interface DirectoryClientOptions {
  readonly gateway: string;
  readonly controlSocket: string;
  /** File of this gateway's own copy. */
  readonly copyPath: string;
  /** Totals to report, by metric name. */
  readonly counters: () => Readonly<Record<string, number>>;
  readonly log: Log;
}

interface Find {
  readonly endpointId: string;
  readonly resolve: (entry: DirectoryEntry | undefined) => void;
}

/** Look-ups of unknown endpoints under way at once; more are answered "unknown", so strangers cannot load control. */
const FINDS_MAX = 64;
const FIND_MAX_MS = 3_000;

/** Control is on this machine: trying often costs nothing, and a gateway that just started should be fresh at once. */
const RECONNECT = { firstMs: 20, maxMs: 200 };

/** A gateway's side of the directory stream: always answers from its copy, and keeps the copy fresh while control is there. */
export class DirectoryClient implements EndpointDirectory {
  readonly #options: DirectoryClientOptions;
  readonly #copy: DirectoryCopy;
  readonly #finds = new Map<number, Find>();
  #socket: Socket | undefined;
  #nextFindId = 1;
  #failures = 0;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: DirectoryClientOptions, copy: DirectoryCopy) {
    this.#options = options;
    this.#copy = copy;
  }

  static async open(options: DirectoryClientOptions): Promise<DirectoryClient> {
    const client = new DirectoryClient(options, await DirectoryCopy.open(options.copyPath, options.log));
    client.#connect();
    return client;
  }

  async find(endpointId: string): Promise<DirectoryEntry | undefined> {
    return this.#copy.get(endpointId) ?? (await this.#ask(endpointId));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { resolve } of this.#finds.values()) resolve(undefined);
    clearTimeout(this.#timer);
    this.#socket?.destroy();
    await this.#copy.close();
  }

  /** Waits a moment for control if it is away: it may be starting, and this gateway's copy may be from before. */
  async #ask(endpointId: string): Promise<DirectoryEntry | undefined> {
    if (this.#finds.size >= FINDS_MAX) return undefined;
    const id = this.#nextFindId++;
    const { promise, resolve } = Promise.withResolvers<DirectoryEntry | undefined>();
    const timer = setTimeout(() => resolve(undefined), FIND_MAX_MS);
    this.#finds.set(id, { endpointId, resolve });
    if (this.#socket) writeMessage(this.#socket, { kind: 'find', id, endpointId });
    const entry = await promise;
    clearTimeout(timer);
    this.#finds.delete(id);
    return entry;
  }

  #connect(): void {
    const { controlSocket, gateway, counters, log } = this.#options;
    const socket = connect(controlSocket);
    let heartbeat: NodeJS.Timeout | undefined;
    socket.setTimeout(SILENCE_MAX_MS, () => socket.destroy());
    socket.once('connect', () => {
      this.#socket = socket;
      writeMessage(socket, { kind: 'hello', gateway, epoch: this.#copy.epoch, seq: this.#copy.seq });
      for (const [id, { endpointId }] of this.#finds) writeMessage(socket, { kind: 'find', id, endpointId });
      heartbeat = setInterval(() => writeMessage(socket, { kind: 'counters', counters: counters() }), HEARTBEAT_MS);
    });
    socket.on('error', (error) => log.debug({ err: error }, 'Control does not answer'));
    socket.once('close', () => {
      clearInterval(heartbeat);
      this.#socket = undefined;
      if (this.#isClosed) return;
      this.#failures += 1;
      this.#timer = setTimeout(() => this.#connect(), backoffMs(this.#failures, RECONNECT));
    });
    readMessages(socket, (message: ControlMessage) => this.#receive(socket, message));
  }

  #receive(socket: Socket, message: ControlMessage): void {
    switch (message.kind) {
      case 'welcome':
        this.#failures = 0;
        if (message.epoch !== this.#copy.epoch) this.#copy.reset(message.epoch);
        break;
      case 'change':
        this.#copy.apply(message);
        writeMessage(socket, { kind: 'ack', seq: message.seq });
        break;
      case 'found':
        this.#finds.get(message.id)?.resolve(message.entry ?? undefined);
        break;
      case 'heartbeat':
        break;
    }
  }
}
