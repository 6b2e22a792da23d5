import { expect, test } from 'vitest';
import { checkComputeSize } from './compute-size.ts';
import { toStateView } from './endpoint-state.ts';
import { checkSuspendTimeout, resolveSuspendTimeout } from './suspend-timeout.ts';

test.each([
  [0.25, 0.25],
  [0.25, 8],
  [8, 16],
  [16, 16],
  [56, 56],
  [18, 18],
])('a compute may be of %d to %d CU', (minCu, maxCu) => {
  expect(checkComputeSize({ minCu, maxCu }, '')).toEqual({ minCu, maxCu });
});

test.each([
  [0, 1, 'min_cu'],
  [0.3, 1, 'min_cu'],
  [1, 1.5, 'max_cu'],
  [2, 1, 'min_cu'],
  [1, 10, 'max_cu'],
  [0.25, 9, 'max_cu'],
  [16, 18, 'min_cu'],
  [19, 19, 'min_cu'],
  [58, 58, 'min_cu'],
  [Number.NaN, 1, 'min_cu'],
])('a compute may not be of %d to %d CU', (minCu, maxCu, field) => {
  expect(() => checkComputeSize({ minCu, maxCu }, 'endpoint.')).toThrow(`endpoint.autoscaling_limit_${field}`);
});

test.each([0, -1, 60, 604_800])('%d is a suspend timeout', (seconds) => {
  expect(checkSuspendTimeout(seconds, 60, 'f')).toBe(seconds);
});

test.each([1, 59, -2, 604_801, 60.5])('%d is no suspend timeout', (seconds) => {
  expect(() => checkSuspendTimeout(seconds, 60, 'f')).toThrow('f: it takes 0 (default), -1 (never) or 60 to 604800');
});

test('0 is the default of the project, and then of the platform', () => {
  expect(resolveSuspendTimeout(0, undefined)).toBe(300);
  expect(resolveSuspendTimeout(0, 0)).toBe(300);
  expect(resolveSuspendTimeout(0, -1)).toBe(-1);
  expect(resolveSuspendTimeout(0, 90)).toBe(90);
  expect(resolveSuspendTimeout(-1, 90)).toBe(-1);
  expect(resolveSuspendTimeout(60, 90)).toBe(60);
});

test('clients see init, active or idle, and where it is going', () => {
  const before = new Date();
  expect(toStateView(null, null)).toEqual({ state: 'init', pendingState: 'active' });
  expect(toStateView('idle', null)).toEqual({ state: 'init', pendingState: null });
  expect(toStateView('starting', null)).toEqual({ state: 'init', pendingState: 'active' });
  expect(toStateView('starting', before)).toEqual({ state: 'idle', pendingState: 'active' });
  expect(toStateView('active', before)).toEqual({ state: 'active', pendingState: null });
  expect(toStateView('suspending', before)).toEqual({ state: 'active', pendingState: 'idle' });
  expect(toStateView('idle', before)).toEqual({ state: 'idle', pendingState: null });
  expect(toStateView('failed', before)).toEqual({ state: 'idle', pendingState: null });
});
