import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Log } from '../../kernel/log.ts';
import {
  cancelRequest,
  parseStartupPacket,
  STARTUP_BODY_MAX_BYTES,
  type CancelKey,
} from '../../pgwire/startup-packet.ts';
import type { CancelKeys } from './cancel-keys.ts';
import { addressPrefix } from '../login/client-address.ts';
import { connectTo } from '../session/compute-login.ts';
import { MessageChannel } from '../login/message-channel.ts';
import { TokenBuckets } from '../limits/rate-limits.ts';

/** Time for a cancel on its way through worker and compute. */
const CANCEL_TIMEOUT_MS = 5_000;

/** Cancels with keys that nobody has, per /24 or /64: 60 in any minute. Those that hit cost nothing in the end. */
const MISSES = { perSecond: 0.25, burst: 45 } as const;

/** What workers answer one another. Clients get no answer, as from Postgres. */
const HIT = 'Y';
const MISS = 'N';

export interface CancelRouterOptions {
  readonly keys: CancelKeys;
  readonly workerIndex: number;
  readonly runDir: string;
  readonly log: Log;
}

/** Brings a cancel request to the worker that owns the session, and from there to the session's compute. */
export class CancelRouter {
  readonly #options: CancelRouterOptions;
  readonly #misses = new TokenBuckets(MISSES);
  readonly #server: Server;

  constructor(options: CancelRouterOptions) {
    this.#options = options;
    this.#server = createServer((socket) => void this.#answer(socket));
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

  /** A client's request; done when the compute has taken it. Never throws: there is nobody to tell. */
  async cancel(key: CancelKey, address: string): Promise<void> {
    const { keys, workerIndex, log } = this.#options;
    const owner = keys.workerOf(key);
    const prefix = addressPrefix(address);
    const isOwn = owner === workerIndex && keys.find(key) !== undefined;
    // Taken before another worker is asked, so that many at once are no way around it.
    if (!isOwn && !this.#misses.take(prefix, performance.now())) return;
    try {
      if (isOwn) await this.#cancelOwn(key);
      else if (owner !== workerIndex && (await this.#askWorker(owner, key))) {
        this.#misses.giveBack(prefix, performance.now());
      }
    } catch (error) {
      log.warn({ err: error, owner }, 'cannot pass on a cancel request');
    }
  }

  async #cancelOwn(key: CancelKey): Promise<boolean> {
    const found = this.#options.keys.find(key);
    if (found) await exchange(connectTo(found.target), cancelRequest(found.key));
    return found !== undefined;
  }

  async #askWorker(owner: number, key: CancelKey): Promise<boolean> {
    const reply = await exchange(connect(this.#socketPath(owner)), cancelRequest(key));
    return reply === HIT;
  }

  async #answer(socket: Socket): Promise<void> {
    const channel = new MessageChannel(socket);
    socket.setTimeout(CANCEL_TIMEOUT_MS, () => socket.destroy());
    try {
      const packet = parseStartupPacket(await channel.readPacket(STARTUP_BODY_MAX_BYTES));
      const isHit = packet.kind === 'cancel_request' && (await this.#cancelOwn(packet.key));
      socket.end(isHit ? HIT : MISS);
    } catch (error) {
      this.#options.log.warn({ err: error }, 'cannot pass on a cancel request of another worker');
      socket.destroy();
    }
  }

  #socketPath(workerIndex: number): string {
    return join(this.#options.runDir, `gateway-${workerIndex}.sock`);
  }
}

/** Sends one packet and gives what comes back until the peer closes. */
async function exchange(socket: Socket, packet: Buffer): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let reply = '';
  socket.setTimeout(CANCEL_TIMEOUT_MS, () => socket.destroy(new Error('No answer to a cancel request in time')));
  socket.on('error', reject);
  socket.on('data', (chunk: Buffer) => {
    reply = (reply + chunk.toString('latin1')).slice(0, 1);
  });
  socket.on('close', () => resolve(reply));
  socket.on('end', () => socket.end());
  socket.write(packet);
  return await promise;
}
