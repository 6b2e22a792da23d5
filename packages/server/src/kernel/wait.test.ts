import { expect, test } from 'vitest';
import type { PlatformError } from './errors.ts';
import { backoffMs, withDeadline } from './wait.ts';

const never = new Promise<never>(() => undefined);

test('withDeadline gives the result of work that is in time', async () => {
  await expect(withDeadline('count', 1_000, () => Promise.resolve(3))).resolves.toBe(3);
});

test('withDeadline names what was late, and aborts it', async () => {
  let seen: AbortSignal | undefined;
  const late = withDeadline('fetch the moon', 5, (signal) => {
    seen = signal;
    return never;
  });
  await expect(late).rejects.toThrow('Cannot fetch the moon: not done within 5 ms');
  await expect(late).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' } satisfies Partial<PlatformError>);
  expect(seen?.aborted).toBe(true);
});

test('withDeadline ends with the outer signal, before and during the work', async () => {
  const outer = new AbortController();
  const running = withDeadline('wait', 60_000, () => never, outer.signal);
  outer.abort(new Error('stopped'));
  await expect(running).rejects.toThrow('stopped');
  await expect(withDeadline('wait', 60_000, () => never, outer.signal)).rejects.toThrow('stopped');
});

test('backoffMs doubles up to its bound, and keeps at least half of it', () => {
  const bounds = [1, 2, 3, 10].map((attempt) => [
    backoffMs(attempt, { firstMs: 100, maxMs: 1_000 }, () => 0),
    backoffMs(attempt, { firstMs: 100, maxMs: 1_000 }, () => 1),
  ]);
  expect(bounds).toEqual([
    [50, 100],
    [100, 200],
    [200, 400],
    [500, 1_000],
  ]);
});
