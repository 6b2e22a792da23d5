import { openProcess, type OpenProcess, type ProcessIdentity } from './process-table.ts';

const SWEEP_MS = 250;

/**
 * Notices the end of processes that are not our children: one sweep for all, and none while there are none. (Node has
 * no pidfd, and only a parent is told of an exit.)
 */
export class ProcessWatcher {
  readonly #watched = new Map<OpenProcess, () => void>();
  #timer: NodeJS.Timeout | undefined;

  /** Resolves once the process is gone. */
  watch(identity: ProcessIdentity): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#watched.set(openProcess(identity), resolve);
    this.#timer ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
    return promise;
  }

  /** Forgets all; their promises stay pending. */
  close(): void {
    for (const watched of this.#watched.keys()) watched.close();
    this.#watched.clear();
    this.#sweep();
  }

  #sweep(): void {
    for (const [watched, resolve] of this.#watched) {
      if (watched.isAlive()) continue;
      watched.close();
      this.#watched.delete(watched);
      resolve();
    }
    if (this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
