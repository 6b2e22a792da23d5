/** How many keys are remembered; the one unused for longest goes first. */
const KEYS_MAX = 10_000;

/** The values put last, by key: a map that a flood of keys cannot grow. */
export class RecentMap<V> {
  readonly #map = new Map<string, V>();

  get(key: string): V | undefined {
    return this.#map.get(key);
  }

  put(key: string, value: V): void {
    this.#map.delete(key);
    this.#map.set(key, value);
    if (this.#map.size > KEYS_MAX) this.#map.delete(this.#map.keys().next().value ?? '');
  }

  delete(key: string): void {
    this.#map.delete(key);
  }
}
