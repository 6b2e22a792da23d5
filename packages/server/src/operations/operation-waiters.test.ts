import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { OperationOutcome } from './operation.ts';
import { OperationWaiters } from './operation-waiters.ts';

const outcome = (id: string, status: OperationOutcome['status']): OperationOutcome => ({ id, status, failure: null });

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** Rows as a test sets them, and how often they were read. */
function rows(...present: OperationOutcome[]) {
  const byId = new Map(present.map((o) => [o.id, o]));
  const reads: string[][] = [];
  const read = async (ids: readonly string[]): Promise<readonly OperationOutcome[]> => {
    reads.push([...ids]);
    return ids.flatMap((id) => byId.get(id) ?? []);
  };
  return { read, reads, set: (o: OperationOutcome) => byId.set(o.id, o) };
}

test('what has ended already is answered by one read', async () => {
  const { read, reads } = rows(outcome('a', 'finished'), outcome('b', 'failed'));
  const waiters = new OperationWaiters(read, 1_000);
  expect(await waiters.waitFor(['b', 'a', 'unknown'], 5_000)).toEqual([
    outcome('b', 'failed'),
    outcome('a', 'finished'),
  ]);
  expect(reads.length).toBe(1);
  expect(vi.getTimerCount()).toBe(0);
});

test('an end in this process needs no further read', async () => {
  const { read, reads } = rows(outcome('a', 'running'), outcome('b', 'scheduling'));
  const waiters = new OperationWaiters(read, 1_000);
  const result = waiters.waitFor(['a', 'b'], 5_000);
  await vi.advanceTimersByTimeAsync(10);
  waiters.notify(outcome('b', 'cancelled'));
  waiters.notify(outcome('a', 'finished'));
  expect(await result).toEqual([outcome('a', 'finished'), outcome('b', 'cancelled')]);
  expect(reads.length).toBe(1);
  expect(vi.getTimerCount()).toBe(0);
});

test('ends of other processes are found by one poll for all who wait', async () => {
  const table = rows(outcome('a', 'running'), outcome('b', 'running'));
  const waiters = new OperationWaiters(table.read, 1_000);
  const results = Array.from({ length: 100 }, (_, n) => waiters.waitFor([n % 2 ? 'a' : 'b'], 60_000));
  await vi.advanceTimersByTimeAsync(10);
  table.set(outcome('a', 'finished'));
  table.set(outcome('b', 'finished'));
  await vi.advanceTimersByTimeAsync(1_000);
  await Promise.all(results);
  expect(table.reads.length).toBe(101);
  expect(table.reads.at(-1)?.sort()).toEqual(['a', 'b']);
  expect(vi.getTimerCount()).toBe(0);
});

test('at the end of the time the status is the present one', async () => {
  const table = rows(outcome('a', 'scheduling'));
  const waiters = new OperationWaiters(table.read, 10_000);
  const result = waiters.waitFor(['a'], 500);
  await vi.advanceTimersByTimeAsync(10);
  table.set(outcome('a', 'running'));
  await vi.advanceTimersByTimeAsync(500);
  expect(await result).toEqual([outcome('a', 'running')]);
});
