import { setTimeout as delay } from 'node:timers/promises';
import { PlatformError } from './errors.ts';

/** Resolves after `ms`, or rejects as soon as `signal` aborts. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, signal ? { signal } : {});
}

/** Does `work` resolve within `ms`? What it rejects with is passed on. */
export async function endsWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  const abort = new AbortController();
  const timeout = sleep(ms, abort.signal).then(
    () => false,
    () => false,
  );
  try {
    return await Promise.race([work.then(() => true), timeout]);
  } finally {
    abort.abort();
  }
}

/**
 * Runs `work` under a deadline.
 * @throws PlatformError DEADLINE_EXCEEDED that names `what` after `ms`; the signal given to `work` is aborted then.
 */
export async function withDeadline<T>(
  what: string,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  outer?: AbortSignal,
): Promise<T> {
  const controller = new AbortController();
  const signal = outer ? AbortSignal.any([controller.signal, outer]) : controller.signal;
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const error = new PlatformError('DEADLINE_EXCEEDED', `Cannot ${what}: not done within ${ms} ms`);
    reject(error);
    controller.abort(error);
  }, ms);
  const onOuterAbort = (): void => reject(outer?.reason);
  if (outer?.aborted) onOuterAbort();
  outer?.addEventListener('abort', onOuterAbort, { once: true });
  try {
    return await Promise.race([work(signal), promise]);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener('abort', onOuterAbort);
  }
}

interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
  readonly factor?: number;
}

/** The pause before try number `attempt` (from 1), with full jitter over its upper half. */
export function backoffMs(attempt: number, { firstMs, maxMs, factor = 2 }: Backoff, random = Math.random): number {
  const ceiling = Math.min(maxMs, firstMs * factor ** (attempt - 1));
  return Math.round(ceiling / 2 + (random() * ceiling) / 2);
}
