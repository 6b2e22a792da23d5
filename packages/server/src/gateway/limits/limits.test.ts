import { expect, test } from 'vitest';
import { createLog } from '../../kernel/log.ts';
import { WorkerLink } from '../workers/worker-link.ts';
import { LoginLimits } from './login-limits.ts';
import { LoginPermits } from './login-permits.ts';
import { FailureBreaker, TokenBuckets } from './rate-limits.ts';

const login = (endpointId: string, address: string) => ({ endpointId, address });

test('a bucket gives its burst at once and then its rate', () => {
  const buckets = new TokenBuckets({ perSecond: 10, burst: 3 });
  const take = (at: number): boolean => buckets.take('k', at);
  expect([take(0), take(0), take(0), take(0)]).toEqual([true, true, true, false]);
  expect(take(50)).toBe(false);
  expect([take(100), take(100)]).toEqual([true, false]);
  expect(buckets.take('other', 100)).toBe(true);
  buckets.giveBack('k', 100);
  expect([take(100), take(100)]).toEqual([true, false]);
  buckets.giveBack('k', 60_000);
  expect([take(60_000), take(60_000), take(60_000), take(60_000)], 'never more than the burst').toEqual([
    true,
    true,
    true,
    false,
  ]);
});

test('a bucket forgets the key unused for longest', () => {
  const buckets = new TokenBuckets({ perSecond: 0.001, burst: 1 });
  expect([buckets.take('k', 0), buckets.take('k', 1)]).toEqual([true, false]);
  for (let i = 0; i < 10_000; i++) buckets.take(`other ${i}`, 2);
  expect(buckets.take('k', 3)).toBe(true);
});

test('failures block only when they come close together', () => {
  const breaker = new FailureBreaker({ failuresMax: 3, windowMs: 100, blockMs: 50 });
  for (const at of [0, 60, 120, 180]) breaker.recordFailure('k', at);
  expect(breaker.isBlocked('k', 181)).toBe(false);
  breaker.recordFailure('k', 190);
  expect(breaker.isBlocked('k', 239)).toBe(true);
  expect(breaker.isBlocked('other', 239)).toBe(false);
  expect(breaker.isBlocked('k', 240)).toBe(false);
});

test('failures that come while a key is blocked overdraw it, and do not prolong the block', () => {
  const breaker = new FailureBreaker({ failuresMax: 2, windowMs: 100, blockMs: 50 });
  breaker.recordFailure('k', 0);
  breaker.recordFailure('k', 90);
  expect([breaker.isBlocked('k', 91), breaker.isOverdrawn('k')]).toEqual([true, false]);
  breaker.recordFailure('k', 120);
  expect([breaker.isBlocked('k', 139), breaker.isOverdrawn('k')]).toEqual([true, true]);
  expect(breaker.isBlocked('k', 140)).toBe(false);
  breaker.recordFailure('k', 141);
  expect([breaker.isBlocked('k', 141), breaker.isOverdrawn('k')]).toEqual([false, false]);
});

test('logins: 1,000 in a second pass, 10 wrong passwords block one address at one endpoint', async () => {
  let now = 0;
  const link = new WorkerLink({ workerIndex: 0, workers: 1, runDir: '/nowhere', log: createLog('test', 'silent') });
  const limits = new LoginLimits(link, () => now);
  for (let i = 0; i < 1000; i++) expect(limits.refusalOf(login('ep-a', '10.0.0.1'))).toBeUndefined();
  for (let i = 0; i < 500; i++) limits.refusalOf(login('ep-a', '10.0.0.1'));
  expect(limits.refusalOf(login('ep-a', '10.0.0.1'))?.message).toMatch(/^Too many connections/);
  now = 1_000;
  for (let i = 0; i < 10; i++) expect(await limits.recordFailure(login('ep-a', '10.0.0.1'))).toBeUndefined();
  expect((await limits.recordFailure(login('ep-a', '10.0.0.1')))?.message).toMatch(/rate limit/);
  expect(limits.refusalOf(login('ep-a', '10.0.0.1'))?.message).toMatch(/rate limit/);
  expect(limits.refusalOf(login('ep-a', '10.0.0.2'))).toBeUndefined();
  expect(limits.refusalOf(login('ep-b', '10.0.0.1'))).toBeUndefined();
  await limits.forgiveFailures(login('ep-a', '10.0.0.2'));
  expect(limits.refusalOf(login('ep-a', '10.0.0.1'))).toBeDefined();
  await limits.forgiveFailures(login('ep-a', '10.0.0.1'));
  expect(limits.refusalOf(login('ep-a', '10.0.0.1'))).toBeUndefined();
  for (let i = 0; i < 10; i++) await limits.recordFailure(login('ep-a', '10.0.0.1'));
  expect(limits.refusalOf(login('ep-a', '10.0.0.1'))).toBeDefined();
  now = 121_001;
  expect(limits.refusalOf(login('ep-a', '10.0.0.1'))).toBeUndefined();
});

test('permits are handed over in order, and who gave up waiting gets none', async () => {
  const permits = new LoginPermits(1);
  const never = new AbortController().signal;
  const first = await permits.take('ep', never);
  const leaving = new AbortController();
  const second = permits.take('ep', leaving.signal);
  const third = permits.take('ep', never);
  const elsewhere = await permits.take('other', never);
  leaving.abort(new Error('left'));
  await expect(second).rejects.toThrow('left');
  first();
  (await third)();
  elsewhere();
  (await permits.take('ep', never))();
  await expect(permits.take('ep', leaving.signal)).rejects.toThrow('left');
});
