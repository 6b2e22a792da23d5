import type { OperationOutcome } from './operation.ts';

const ENDED: ReadonlySet<OperationOutcome['status']> = new Set(['finished', 'failed', 'cancelled', 'skipped']);

interface Waiter {
  readonly ended: Map<string, OperationOutcome>;
  readonly missing: Set<string>;
  readonly allEnded: () => void;
}

/**
 * Those who wait for operations to end. The engine tells of the ends that it writes itself; the ends that another
 * process writes are found by one shared poll, which runs only while somebody waits.
 */
export class OperationWaiters {
  readonly #waiters = new Set<Waiter>();
  readonly #read: (ids: readonly string[]) => Promise<readonly OperationOutcome[]>;
  readonly #pollMs: number;
  #timer: NodeJS.Timeout | undefined;

  /** @param read gives the present outcomes of operations */
  constructor(read: (ids: readonly string[]) => Promise<readonly OperationOutcome[]>, pollMs: number) {
    this.#read = read;
    this.#pollMs = pollMs;
  }

  /** The outcomes in the order of `ids`, once all have ended or `ms` have passed. Unknown ids are left out. */
  async waitFor(ids: readonly string[], ms: number): Promise<readonly OperationOutcome[]> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter: Waiter = { ended: new Map(), missing: new Set(ids), allEnded: resolve };
    this.#waiters.add(waiter);
    const timer = setTimeout(resolve, ms);
    try {
      // Registered first: an end between this read and the wait is not missed.
      const found = await this.#read(ids);
      for (const outcome of found) this.#note(waiter, outcome);
      const known = new Set(found.map((f) => f.id));
      for (const id of ids) if (!known.has(id)) waiter.missing.delete(id);
      if (waiter.missing.size > 0) {
        this.#startPolling();
        await promise;
      }
      const rest = waiter.missing.size > 0 ? await this.#read([...waiter.missing]) : [];
      for (const outcome of rest) waiter.ended.set(outcome.id, outcome);
      return ids.flatMap((id) => waiter.ended.get(id) ?? []);
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
      if (this.#waiters.size === 0) this.#stopPolling();
    }
  }

  /** Tells of an operation that has ended. */
  notify(outcome: OperationOutcome): void {
    for (const waiter of this.#waiters) this.#note(waiter, outcome);
  }

  #note(waiter: Waiter, outcome: OperationOutcome): void {
    if (!ENDED.has(outcome.status) || !waiter.missing.delete(outcome.id)) return;
    waiter.ended.set(outcome.id, outcome);
    if (waiter.missing.size === 0) waiter.allEnded();
  }

  #startPolling(): void {
    this.#timer ??= setTimeout(() => void this.#poll(), this.#pollMs);
  }

  #stopPolling(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #poll(): Promise<void> {
    const ids = new Set(this.#waiters.values().flatMap((w) => w.missing));
    try {
      for (const outcome of await this.#read([...ids])) this.notify(outcome);
    } catch {
      // The next poll reads again; a waiter whose time is up reads once more itself and gets the error.
    }
    this.#timer = undefined;
    if (this.#waiters.size > 0) this.#startPolling();
  }
}
