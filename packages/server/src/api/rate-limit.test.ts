import { expect, test } from 'vitest';
import { RateLimit } from './rate-limit.ts';

test('a key has its burst at once and then its rate', () => {
  let now = 0;
  const limit = new RateLimit({ requestsPerMinute: 60, burst: 3 }, () => now);
  const take = (apiKeyId: number): boolean => {
    try {
      limit.take(apiKeyId);
      return true;
    } catch {
      return false;
    }
  };
  expect([take(1), take(1), take(1), take(1)]).toEqual([true, true, true, false]);
  expect(take(2)).toBe(true);
  now = 999;
  expect(take(1)).toBe(false);
  now = 1000;
  expect([take(1), take(1)]).toEqual([true, false]);
});

test('the refusal says when to come again', () => {
  const limit = new RateLimit({ requestsPerMinute: 6, burst: 1 }, () => 0);
  limit.take(1);
  expect(() => limit.take(1)).toThrow(
    expect.objectContaining({ code: 'RATE_LIMITED', details: { retryAfterSeconds: 10 } }),
  );
});

test('quiet keys are forgotten and start with a full burst', () => {
  let now = 0;
  const limit = new RateLimit({ requestsPerMinute: 60, burst: 1 }, () => now);
  limit.take(1);
  now = 1000;
  limit.forgetQuiet();
  expect(() => limit.take(1)).not.toThrow();
});
