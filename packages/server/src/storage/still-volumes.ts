/**
 * Who may touch the files of a volume: either Postgres, which claims it, or works that need it to stand still. A claim
 * waits for the works that have begun, and none begins after it.
 */
export class StillVolumes {
  readonly #claimed = new Set<string>();
  readonly #works = new Map<string, Set<Promise<unknown>>>();

  async claim(volumeId: string): Promise<void> {
    this.#claimed.add(volumeId);
    const works = this.#works.get(volumeId);
    if (works) await Promise.allSettled(works);
  }

  release(volumeId: string): void {
    this.#claimed.delete(volumeId);
  }

  isClaimed(volumeId: string): boolean {
    return this.#claimed.has(volumeId);
  }

  /** Does `work` while nothing writes to the volume; if it is claimed, `otherwise` instead. */
  async whileStill<T>(volumeId: string, work: () => Promise<T>, otherwise: () => Promise<T>): Promise<T> {
    if (this.#claimed.has(volumeId)) return otherwise();
    const works = this.#works.get(volumeId) ?? new Set();
    this.#works.set(volumeId, works);
    const working = work();
    works.add(working);
    try {
      return await working;
    } finally {
      works.delete(working);
      if (works.size === 0) this.#works.delete(volumeId);
    }
  }
}
