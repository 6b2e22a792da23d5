import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatLsn, parseLsn } from './lsn.ts';

test('reads and writes LSNs as Postgres does', () => {
  expect(parseLsn('0/16B3748')).toBe(0x16b3748n);
  expect(parseLsn('1/0')).toBe(0x1_0000_0000n);
  expect(parseLsn('ab/cd')).toBe(0xab_0000_00cdn);
  expect(formatLsn(0xab_0000_00cdn)).toBe('AB/CD');
  fc.assert(
    fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (lsn) => {
      expect(parseLsn(formatLsn(lsn))).toBe(lsn);
    }),
  );
});

test.each(['', '0', '0/', '/0', '0/123456789', '0/G', ' 0/1', '0/1\n', '-1/0'])('%j is no LSN', (text) => {
  expect(parseLsn(text)).toBeUndefined();
});
