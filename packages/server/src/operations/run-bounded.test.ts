import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { runBounded } from './run-bounded.ts';

const log = pino({ level: 'silent' });
const never = new AbortController().signal;

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('aborted')));
  });

test('an abort after the end does nothing', async () => {
  const outer = new AbortController();
  await runBounded(async () => 1, { deadlineMs: 1_000, signal: outer.signal, log });
  outer.abort();
  expect(vi.getTimerCount()).toBe(0);
});

test('gives what the work returned or threw', async () => {
  const bounds = { deadlineMs: 1_000, signal: never, log };
  expect(await runBounded(async () => 1, bounds)).toEqual({ kind: 'returned', value: 1 });
  const error = new Error('x');
  expect(await runBounded(() => Promise.reject(error), bounds)).toEqual({ kind: 'threw', error });
  expect(vi.getTimerCount()).toBe(0);
});

test('aborts the work at its deadline and says that it was late, not what the abort threw', async () => {
  const result = runBounded(untilAborted, { deadlineMs: 1_000, signal: never, log });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await result).toMatchObject({ kind: 'threw', error: { code: 'DEADLINE_EXCEEDED' } });
  expect(vi.getTimerCount()).toBe(0);
});

test('is stopped by the outer signal', async () => {
  const outer = new AbortController();
  const result = runBounded(untilAborted, { deadlineMs: 1_000, signal: outer.signal, log });
  outer.abort();
  expect(await result).toEqual({ kind: 'stopped' });
  expect(vi.getTimerCount()).toBe(0);
});

test('a result that comes in spite of the abort counts', async () => {
  const outer = new AbortController();
  const { promise, resolve } = Promise.withResolvers<number>();
  const result = runBounded(() => promise, { deadlineMs: 1_000, signal: outer.signal, log });
  outer.abort();
  await vi.advanceTimersByTimeAsync(1_000);
  resolve(7);
  expect(await result).toEqual({ kind: 'returned', value: 7 });
});

test('work that ignores its signal is left behind after a while', async () => {
  const outer = new AbortController();
  const stuck = runBounded(() => new Promise(() => undefined), { deadlineMs: 1_000, signal: outer.signal, log });
  outer.abort();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(await stuck).toEqual({ kind: 'stopped' });
  expect(vi.getTimerCount()).toBe(0);
});
