import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  historyFileName,
  nextSegmentStart,
  parseHistoryFileName,
  parseSegmentName,
  segmentName,
  segmentStart,
} from './segment-name.ts';

test('names segments as Postgres does', () => {
  expect(segmentName(1, 0x16b3748n)).toBe('000000010000000000000001');
  expect(segmentName(0x1a, 0x2_ff00_0000n)).toBe('0000001A00000002000000FF');
  expect(nextSegmentStart(0x2_ff00_0000n)).toBe(0x3_0000_0000n);
  expect(segmentName(1, nextSegmentStart(0x2_ff00_0001n))).toBe('000000010000000300000000');
  expect(historyFileName(26)).toBe('0000001A.history');
});

test('reads back what it names', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 0xffff_ffff }), fc.bigInt(0n, 2n ** 63n), (timeline, lsn) => {
      expect(parseSegmentName(segmentName(timeline, lsn))).toEqual({ timeline, start: segmentStart(lsn) });
      expect(parseHistoryFileName(historyFileName(timeline))).toBe(timeline);
    }),
  );
});

test.each([
  '00000001000000000000000',
  '000000010000000000000001.partial',
  '000000010000000000000100',
  'archive_status',
  '',
])('%j names no segment', (name) => {
  expect(parseSegmentName(name)).toBeUndefined();
  expect(parseHistoryFileName(name)).toBeUndefined();
});
