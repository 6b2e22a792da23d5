/** Bounds how many logins to one compute run at once: a forking Postgres is not helped by more. First come, first served. */
export class LoginPermits {
  readonly #max: number;
  readonly #endpoints = new Map<string, { active: number; readonly waiting: Set<() => void> }>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Waits for a permit. The function returned gives it back, once. @throws the reason of `signal` */
  async take(endpointId: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const state = this.#endpoints.get(endpointId) ?? { active: 0, waiting: new Set<() => void>() };
    this.#endpoints.set(endpointId, state);
    if (state.active < this.#max) state.active++;
    else await this.#wait(state.waiting, signal);
    return () => {
      const [next] = state.waiting;
      if (next) {
        state.waiting.delete(next);
        next();
        return;
      }
      state.active--;
      if (state.active === 0) this.#endpoints.delete(endpointId);
    };
  }

  /** The permit is handed over by the one that gives it back. */
  async #wait(waiting: Set<() => void>, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      if (waiting.delete(resolve)) reject(signal.reason);
    };
    waiting.add(resolve);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
