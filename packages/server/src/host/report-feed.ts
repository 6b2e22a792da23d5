import type { EndpointId } from '@tenantry/contract/ids.ts';
import type { EndpointReport } from './host.ts';

/**
 * Versions of all reports and the readers that wait for newer ones. Keeps no report: a reader that lags gets the
 * present one of each endpoint, never a queue of old ones.
 */
export class ReportFeed {
  readonly #versions = new Map<EndpointId, number>();
  readonly #readers = new Set<Reader>();
  #last = 0;

  /**
   * Versions given from now on are above every one that was ever given: the clock is the base, since the last ones
   * before a crash may not have reached the disk.
   */
  load(versions: Iterable<readonly [EndpointId, number]>, nowMs: number): void {
    for (const [endpointId, version] of versions) this.#versions.set(endpointId, version);
    this.#last = [...this.#versions.values()].reduce((a, b) => Math.max(a, b), nowMs * 1000);
  }

  has(endpointId: EndpointId): boolean {
    return this.#versions.has(endpointId);
  }

  endpointIds(): IterableIterator<EndpointId> {
    return this.#versions.keys();
  }

  nextVersion(endpointId: EndpointId): number {
    const version = ++this.#last;
    this.#versions.set(endpointId, version);
    for (const reader of this.#readers) reader.note(endpointId, version);
    return version;
  }

  remove(endpointId: EndpointId): void {
    this.#versions.delete(endpointId);
  }

  /** @param find the present report of an endpoint; undefined if it has been removed */
  async *read(
    sinceVersion: number,
    signal: AbortSignal,
    find: (endpointId: EndpointId) => Promise<EndpointReport | undefined>,
  ): AsyncGenerator<EndpointReport> {
    const reader = new Reader(signal);
    this.#readers.add(reader);
    try {
      const known = [...this.#versions].filter(([, version]) => version > sinceVersion);
      for (const [endpointId, version] of known.sort(([, a], [, b]) => a - b)) reader.note(endpointId, version);
      for (;;) {
        const noted = await reader.next();
        if (!noted) return;
        const report = await find(noted.endpointId);
        // One that is newer already is noted again, behind all that came before it: versions only ever grow here, so
        // a reader that comes back with the last version it saw misses nothing.
        if (report?.version === noted.version) yield report;
      }
    } finally {
      this.#readers.delete(reader);
    }
  }
}

class Reader {
  /** In the order of versions. */
  readonly #pending = new Map<EndpointId, number>();
  readonly #signal: AbortSignal;
  #wake: (() => void) | undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#wake?.(), { once: true });
  }

  note(endpointId: EndpointId, version: number): void {
    this.#pending.delete(endpointId);
    this.#pending.set(endpointId, version);
    this.#wake?.();
  }

  /** Undefined once the signal has aborted. */
  async next(): Promise<{ endpointId: EndpointId; version: number } | undefined> {
    for (;;) {
      if (this.#signal.aborted) return undefined;
      const [first] = this.#pending;
      if (first) {
        this.#pending.delete(first[0]);
        return { endpointId: first[0], version: first[1] };
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }
}
