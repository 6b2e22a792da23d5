import { messageOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { OperationStore } from './operation-store.ts';

interface Lease {
  readonly controller: AbortController;
  /** On the monotonic clock: until then nobody else can have taken the operation. */
  sureUntil: number;
}

/**
 * The leases that this engine holds. Renews them while their steps run, and aborts the steps of one that is lost or can
 * no longer be proven held: a step must have noticed before another engine can start it.
 *
 * The clocks of database and process are never compared. A lease is counted from before it was asked for, so it ends
 * here before it ends there.
 */
export class LeaseKeeper {
  readonly #store: OperationStore;
  readonly #leaseMs: number;
  readonly #log: Log;
  readonly #leases = new Map<string, Lease>();
  #timer: NodeJS.Timeout | undefined;
  #isRenewing = false;
  #renewAt = 0;

  constructor(store: OperationStore, leaseMs: number, log: Log) {
    this.#store = store;
    this.#leaseMs = leaseMs;
    this.#log = log;
  }

  get ids(): readonly string[] {
    return [...this.#leases.keys()];
  }

  get size(): number {
    return this.#leases.size;
  }

  /**
   * Keeps a lease until `drop`.
   * @param askedAt monotonic time before the claim was sent
   * @returns aborts when the lease may be lost, or at `stop`
   */
  keep(id: string, askedAt: number): AbortSignal {
    const controller = new AbortController();
    this.#leases.set(id, { controller, sureUntil: this.#sureUntil(askedAt) });
    if (this.#leases.size === 1) {
      this.#renewAt = askedAt + this.#leaseMs / 3;
      this.#timer = setInterval(() => this.#tick(), this.#leaseMs / 20);
    }
    return controller.signal;
  }

  drop(id: string): void {
    this.#leases.delete(id);
    if (this.#leases.size === 0) clearInterval(this.#timer);
  }

  /** Aborts all steps. */
  stop(reason: unknown): void {
    for (const { controller } of this.#leases.values()) controller.abort(reason);
  }

  #sureUntil(askedAt: number): number {
    return askedAt + this.#leaseMs * 0.8;
  }

  #tick(): void {
    const now = performance.now();
    for (const [id, { controller, sureUntil }] of this.#leases) {
      if (now > sureUntil && !controller.signal.aborted) {
        this.#log.warn({ operation_id: id }, 'operation lease in doubt, step aborted');
        controller.abort(new Error('The lease of the operation could not be renewed'));
      }
    }
    if (now >= this.#renewAt && !this.#isRenewing) void this.#renew(now);
  }

  async #renew(askedAt: number): Promise<void> {
    this.#isRenewing = true;
    this.#renewAt = askedAt + this.#leaseMs / 3;
    const asked = [...this.#leases];
    try {
      const held = await this.#store.renew(
        asked.map(([id]) => id),
        this.#leaseMs,
      );
      for (const [id, lease] of asked) {
        if (held.has(id)) lease.sureUntil = this.#sureUntil(askedAt);
        // Gone from the row, but kept here: it ended meanwhile, or another engine has it.
        else lease.controller.abort(new Error('The lease of the operation is lost'));
      }
    } catch (error) {
      this.#log.warn({ error: messageOf(error) }, 'operation leases not renewed');
    } finally {
      this.#isRenewing = false;
    }
  }
}
