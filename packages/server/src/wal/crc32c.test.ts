import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { crc32c } from './crc32c.ts';

const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);

test.each([
  ['nothing', new Uint8Array(), 0],
  ['"a"', Buffer.from('a'), 0xc1d0_4330],
  ['the check value', Buffer.from('123456789'), 0xe306_9283],
  ['RFC 3720: zeros', new Uint8Array(32), 0x8a91_36aa],
  ['RFC 3720: ones', new Uint8Array(32).fill(0xff), 0x62a8_ab43],
  ['RFC 3720: ascending', ascending, 0x46dd_794e],
  ['RFC 3720: descending', ascending.toReversed(), 0x113f_db5c],
])('known CRC of %s', (_, bytes, expected) => {
  expect(crc32c(bytes)).toBe(expected);
});

test('goes on from the CRC of what is before', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, cut) => {
      const at = Math.min(cut, bytes.length);
      expect(crc32c(bytes, at, bytes.length, crc32c(bytes, 0, at))).toBe(crc32c(bytes));
    }),
  );
});
