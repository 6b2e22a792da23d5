/** Callers that wait for the same thing; each may go away on its own. */
export class Waiters<T> {
  readonly #waiting = new Set<PromiseWithResolvers<T>>();

  get size(): number {
    return this.#waiting.size;
  }

  /** @throws the signal's reason once it aborts */
  async wait(begin: () => void, signal?: AbortSignal): Promise<T> {
    const waiter = Promise.withResolvers<T>();
    const onAbort = (): void => {
      this.#waiting.delete(waiter);
      waiter.reject(signal?.reason);
    };
    this.#waiting.add(waiter);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      begin();
      return await waiter.promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  resolve(value: T): void {
    for (const waiter of this.#waiting) waiter.resolve(value);
    this.#waiting.clear();
  }

  reject(error: unknown): void {
    for (const waiter of this.#waiting) waiter.reject(error);
    this.#waiting.clear();
  }
}
