import { expect, test } from 'vitest';
import { limitsV1, limitsV2 } from './cgroup.ts';
import { toPublicReason } from './postgres-log.ts';
import { quoteIdentifier, quoteLiteral } from './quoting.ts';

test('a reason from the log has neither prefix nor paths', () => {
  const line = '2026-11-22 23:14:39.123 UTC [42] FATAL:  could not open file "/data/host/volumes/v/base": No such file';
  expect(toPublicReason(line)).toBe('could not open file (path): No such file');
});

test('names and literals cannot end their quotes', () => {
  expect(quoteIdentifier('a"; DROP TABLE x; --')).toBe('"a""; DROP TABLE x; --"');
  expect(quoteLiteral("a'b")).toBe("'a''b'");
  expect(quoteLiteral("a\\'b")).toBe("E'a\\\\''b'");
});

test('limits follow the size: the largest bounds, the smallest weighs', () => {
  expect(limitsV2({ minCu: 0.25, maxCu: 2 })).toEqual({
    'cpu.max': '200000 100000',
    'cpu.weight': '25',
    'memory.max': String(8 * 1024 ** 3),
  });
  expect(limitsV1({ minCu: 0.25, maxCu: 0.25 })).toEqual({
    cpu: { 'cpu.cfs_period_us': '100000', 'cpu.cfs_quota_us': '25000', 'cpu.shares': '256' },
    memory: { 'memory.limit_in_bytes': String(1024 ** 3) },
  });
});
