import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Log } from '../../kernel/log.ts';
import { cancelRequest, type CancelKey } from '../../pgwire/startup-packet.ts';
import type { CancelKeys } from './cancel-keys.ts';
import { addressPrefix } from '../login/client-address.ts';
import { connectTo } from '../session/compute-login.ts';
import { TokenBuckets } from '../limits/rate-limits.ts';
import type { WorkerLink } from '../workers/worker-link.ts';

/** Time for a compute to take a cancel: it answers by closing. */
const CANCEL_TIMEOUT_MS = 4_000;

/** Cancels with keys that nobody has, per /24 or /64: 60 in any minute. Those that hit cost nothing in the end. */
const MISSES = { perSecond: 0.25, burst: 45 } as const;

export interface CancelRouterOptions {
  readonly keys: CancelKeys;
  readonly link: WorkerLink;
  readonly workerIndex: number;
  readonly log: Log;
}

/** Brings a cancel request to the worker that owns the session, and from there to the session's compute. */
export class CancelRouter {
  readonly #options: CancelRouterOptions;
  readonly #misses = new TokenBuckets(MISSES);

  constructor(options: CancelRouterOptions) {
    this.#options = options;
    const { link } = options;
    link.handle('cancel', ({ processId, secret }) =>
      this.#cancelOwn({ processId, secret: Buffer.from(secret, 'hex') }),
    );
    link.handle('missed_cancel', ({ prefix }) => this.#misses.take(prefix, performance.now()));
  }

  /** A client's request; done when the compute has taken it. Never throws: there is nobody to tell. */
  async cancel(key: CancelKey, address: string): Promise<void> {
    const { keys, link, workerIndex } = this.#options;
    const owner = keys.workerOf(key);
    const prefix = addressPrefix(address);
    const isOwn = owner === workerIndex && keys.find(key) !== undefined;
    // Taken before another worker is asked, so that many at once are no way around it.
    if (!isOwn && !this.#misses.take(prefix, performance.now())) return;
    if (isOwn) await this.#cancelOwn(key);
    else if (owner !== workerIndex && (await this.#askOwner(owner, key))) {
      this.#misses.giveBack(prefix, performance.now());
    } else await link.tellOthers('missed_cancel', { prefix });
  }

  async #askOwner(owner: number, { processId, secret }: CancelKey): Promise<boolean> {
    try {
      return await this.#options.link.ask(owner, 'cancel', { processId, secret: secret.toString('hex') });
    } catch (error) {
      this.#options.log.warn({ err: error, owner }, 'cannot pass on a cancel request');
      return false;
    }
  }

  /** True if the key is of a session here, whether its compute takes the cancel or not. */
  async #cancelOwn(key: CancelKey): Promise<boolean> {
    const { keys, log } = this.#options;
    const found = keys.find(key);
    if (!found) return false;
    try {
      await sendCancel(connectTo(found.target), found.key);
    } catch (error) {
      log.warn({ err: error, computeId: found.target.computeId }, 'the compute took no cancel');
    }
    return true;
  }
}

/** Sends the request and waits until the compute closes. */
async function sendCancel(socket: Socket, key: CancelKey): Promise<void> {
  socket.setTimeout(CANCEL_TIMEOUT_MS, () => socket.destroy(new Error('The compute did not take a cancel in time')));
  socket.on('end', () => socket.end());
  socket.resume();
  socket.write(cancelRequest(key));
  await once(socket, 'close');
}
