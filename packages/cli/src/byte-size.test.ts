import { expect, test } from 'vitest';
import { formatSize, parseSize } from './byte-size.ts';

test.each([
  ['320MB', 320_000_000],
  ['200 GB', 200_000_000_000],
  ['1.5TiB', 1_649_267_441_664],
  ['64gib', 68_719_476_736],
  ['12345', 12_345],
])('%s is %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each(['', 'GB', '-1GB', '1e9', '10 apples', '1,5GB', '0x10'])('"%s" is no size', (text) => {
  expect(() => parseSize(text)).toThrow(/^Cannot read the size/);
});

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.00 kB'],
  [12_345, '12.3 kB'],
  [999_600, '1.00 MB'],
  [9_996_000, '10.0 MB'],
  [123_456_789_012, '123 GB'],
  [78e15, '78.0 PB'],
])('%d bytes read %s', (bytes, text) => {
  expect(formatSize(bytes)).toBe(text);
});
