import { messageOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { VolumeStore } from '../storage/volume-store.ts';

const FIRST_MS = 60_000;
const EVERY_MS = 3_600_000;

/** Has history that is older than its retention dropped: every hour, and when a retention has changed. One run at a time. */
export class Pruner {
  readonly #volumes: VolumeStore;
  readonly #log: Log;
  #timers: NodeJS.Timeout[] = [];
  #isRunning = false;
  #isWanted = false;
  #isStopped = false;

  constructor({ volumes, log }: { readonly volumes: VolumeStore; readonly log: Log }) {
    this.#volumes = volumes;
    this.#log = log;
  }

  start(): void {
    this.#timers = [setTimeout(() => this.run(), FIRST_MS).unref(), setInterval(() => this.run(), EVERY_MS).unref()];
  }

  /** Begins a run, or another one after that under way. */
  run(): void {
    this.#isWanted = true;
    if (!this.#isRunning) void this.#runWanted();
  }

  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  async #runWanted(): Promise<void> {
    this.#isRunning = true;
    while (this.#isWanted && !this.#isStopped) {
      this.#isWanted = false;
      await this.#prune();
    }
    this.#isRunning = false;
  }

  async #prune(): Promise<void> {
    const from = performance.now();
    this.#log.debug('pruning history');
    try {
      await this.#volumes.prune();
      this.#log.info({ ms: Math.round(performance.now() - from) }, 'history pruned');
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'history not pruned; the next run tries again');
    }
  }
}
