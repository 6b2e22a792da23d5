import { assert, constantFrom, integer, property, record } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PlatformError } from '../kernel/errors.ts';
import { decide, decideAtClaim, type Outcome, type Situation } from './decide.ts';
import { mayRetry, toFailure, UNCERTAIN_ATTEMPTS_MAX } from './failure.ts';
import { done, goto, skipped, wait } from './operation.ts';

const running: Situation = {
  status: 'running',
  attempt: 1,
  failure: null,
  dependencyFailed: false,
  remainingMs: 60_000,
  deadlineMs: 60_000,
  hasOnFailure: true,
};
const reason = { code: 'NOT_FOUND', message: 'Cannot find it', details: {} };
const failing: Situation = { ...running, status: 'failing', failure: reason };
const next = (n: ReturnType<typeof goto>): Outcome => ({ kind: 'next', next: n });
const threw = (error: unknown): Outcome => ({ kind: 'threw', error });
const unavailable = new PlatformError('HOST_UNAVAILABLE', 'Cannot reach the host');
const refused = new PlatformError('NOT_FOUND', 'Cannot find it');

describe('the table of OPERATION.spec.md, row by row', () => {
  test.each<[string, Situation, Outcome, object]>([
    ['goto', running, next(goto('b')), { kind: 'step', step: 'b' }],
    ['done', running, next(done), { kind: 'end', status: 'finished', failure: null }],
    ['skipped', running, next(skipped), { kind: 'end', status: 'skipped', failure: null }],
    ['wait', running, next(wait(500)), { kind: 'wait', delayMs: 500 }],
    ['wait beyond the deadline', running, next(wait(90_000)), { kind: 'wait', delayMs: 60_000 }],
    ['wait, overdue', { ...running, remainingMs: 0 }, next(wait(1)), { kind: 'failing' }],
    ['retryable', running, threw(unavailable), { kind: 'retry', failure: toFailure(unavailable) }],
    ['retryable, overdue', { ...running, remainingMs: -1 }, threw(unavailable), { kind: 'failing' }],
    ['final', running, threw(refused), { kind: 'failing', failure: reason }],
    ['final, nothing to clean', { ...running, hasOnFailure: false }, threw(refused), { kind: 'end', status: 'failed' }],
    ['unknown', running, threw(new Error('x')), { kind: 'retry', failure: toFailure(new Error('x')) }],
    ['unknown, too often', { ...running, attempt: UNCERTAIN_ATTEMPTS_MAX }, threw(new Error('x')), { kind: 'failing' }],
    ['stopped', running, { kind: 'stopped' }, { kind: 'release' }],
    ['failing, cleaned', failing, { kind: 'cleaned' }, { kind: 'end', status: 'failed', failure: reason }],
    ['failing, not cleaned', failing, threw(refused), { kind: 'retry', failure: null }],
    ['failing, stopped', failing, { kind: 'stopped' }, { kind: 'release' }],
  ])('%s', (_, situation, outcome, expected) => {
    expect(decide(situation, outcome)).toMatchObject(expected);
  });
});

test('before a step runs: a failed dependency cancels, a passed deadline fails, cleaning up always goes on', () => {
  expect(decideAtClaim(running)).toBeUndefined();
  expect(decideAtClaim({ ...running, dependencyFailed: true })).toMatchObject({ kind: 'end', status: 'cancelled' });
  const failure = { code: 'DEADLINE_EXCEEDED', message: 'Cannot finish the operation within 60 s' };
  expect(decideAtClaim({ ...running, remainingMs: 0 })).toMatchObject({ kind: 'failing', failure });
  expect(decideAtClaim({ ...failing, remainingMs: -1, dependencyFailed: true })).toBeUndefined();
});

test('no delay passes the deadline while steps run, none is without bound while cleaning up', () => {
  const situations = record({
    attempt: integer({ min: 1, max: 1_000 }),
    remainingMs: integer({ min: -1_000, max: 100_000 }),
  });
  assert(
    property(situations, constantFrom(running, failing), (part, base) => {
      const change = decide({ ...base, ...part }, threw(unavailable));
      if (change.kind !== 'retry') return;
      const boundMs = base.status === 'failing' ? 30_000 : Math.min(5_000, part.remainingMs);
      expect(change.delayMs).toBeGreaterThanOrEqual(0);
      expect(change.delayMs).toBeLessThanOrEqual(boundMs);
    }),
  );
});

test('an unknown error is retried briefly, of the host process too', () => {
  for (const error of [new Error('x'), new PlatformError('INTERNAL', 'Cannot do this: a fault of the host')]) {
    expect([mayRetry(error, 1), mayRetry(error, UNCERTAIN_ATTEMPTS_MAX)]).toEqual([true, false]);
  }
});

test('a full disk is retried briefly, whatever says so', () => {
  for (const error of [
    Object.assign(new Error('x'), { code: 'ENOSPC' }),
    new PlatformError('NO_SPACE', 'Cannot write: the disk is full'),
    new Error('outer', { cause: Object.assign(new Error('x'), { code: '53100' }) }),
  ]) {
    expect(toFailure(error).code).toBe('NO_SPACE');
    expect([mayRetry(error, 1), mayRetry(error, UNCERTAIN_ATTEMPTS_MAX)]).toEqual([true, false]);
  }
});
