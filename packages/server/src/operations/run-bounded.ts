import { PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';

interface Bounds {
  readonly deadlineMs: number;
  /** Aborts when the process stops or the lease is lost. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

export type Bounded<T> =
  | { readonly kind: 'returned'; readonly value: T }
  | { readonly kind: 'threw'; readonly error: unknown }
  | { readonly kind: 'stopped' };

/** What aborted work gets to end in; work that ignores its signal is left behind. */
const ABORT_GRACE_MS = 5_000;

/**
 * Runs work that is aborted at a deadline or by the outer signal, and waits for it to end: the next try must not overlap
 * with this one. A result that comes in spite of the abort counts.
 */
export async function runBounded<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { deadlineMs, signal: outer, log }: Bounds,
): Promise<Bounded<T>> {
  const deadline = new AbortController();
  const overdue = new PlatformError('DEADLINE_EXCEEDED', `Cannot finish the step within ${deadlineMs} ms`);
  const timer = setTimeout(() => deadline.abort(overdue), Math.max(0, deadlineMs));
  const signal = AbortSignal.any([outer, deadline.signal]);
  const aborted = (): Bounded<T> => (outer.aborted ? { kind: 'stopped' } : { kind: 'threw', error: overdue });
  const ended = settle(work, signal).then((result) => (result.kind === 'threw' && signal.aborted ? aborted() : result));
  const { promise: hung, resolve } = Promise.withResolvers<Bounded<T>>();
  let graceTimer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    graceTimer = setTimeout(() => {
      log.error('step ignores its abort signal and is left behind');
      resolve(aborted());
    }, ABORT_GRACE_MS);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([ended, hung]);
  } finally {
    clearTimeout(timer);
    clearTimeout(graceTimer);
    signal.removeEventListener('abort', onAbort);
  }
}

async function settle<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<Bounded<T>> {
  try {
    return { kind: 'returned', value: await work(signal) };
  } catch (error) {
    return { kind: 'threw', error };
  }
}
