/** Wakes those of this process who wait for news. Carries none itself: they look again, so a missed call costs a poll. */
export class Notifier {
  readonly #waiting = new Set<() => void>();

  notify(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /**
   * A wait that begins now, so that news between a look and the wait is not missed. Ends with the next `notify`, after
   * `ms`, or when the signal aborts; never rejects. `cancel` frees it early.
   */
  listen(ms: number, signal?: AbortSignal): { readonly heard: Promise<void>; cancel(): void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = (): void => {
      clearTimeout(timer);
      this.#waiting.delete(end);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    this.#waiting.add(end);
    signal?.addEventListener('abort', end, { once: true });
    if (signal?.aborted) end();
    return { heard: promise, cancel: end };
  }
}
