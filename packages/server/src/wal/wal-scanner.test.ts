import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { writeWal } from './testing/write-wal.ts';
import { WalScanner, type ScanStep } from './wal-scanner.ts';

const FROM = 0x200_0000;

interface Scan {
  readonly found: readonly { readonly start: number; readonly end: number }[];
  readonly boundary: number;
  readonly step: ScanStep;
  readonly times: readonly (number | undefined)[];
}

function scan(bytes: Buffer, { from = FROM, base = FROM, checksums = true } = {}): Scan {
  const found: { start: number; end: number }[] = [];
  const times: (number | undefined)[] = [];
  const scanner = new WalScanner({
    from,
    checksums,
    visit: ({ start, end, xactTimeUs }) => {
      found.push({ start: Number(start), end: Number(end) });
      times.push(xactTimeUs);
    },
  });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let step: ScanStep = 'more';
  for (let at = Math.floor((from - base) / 8192) * 8192; step === 'more' && at < bytes.length; at += 8192) {
    step = scanner.feed({ bytes, view, at, lsn: base + at, timeline: 1 });
  }
  return { found, boundary: scanner.boundary, step, times };
}

const sizes = fc.array(fc.oneof(fc.nat(200), fc.nat(30_000), fc.integer({ min: 8080, max: 8180 })), { maxLength: 60 });
const walOf = (lengths: readonly number[]): ReturnType<typeof writeWal> =>
  writeWal(
    FROM,
    lengths.map((length, i) => ({ data: new Uint8Array(length).fill(i + 1) })),
  );

test('finds every record, from any boundary and from any page', () => {
  fc.assert(
    fc.property(sizes, fc.nat(), fc.boolean(), (lengths, pick, checksums) => {
      const { bytes, records } = walOf(lengths);
      expect(scan(bytes, { checksums }).found).toEqual(records);
      const first = records.length && pick % records.length;
      expect(scan(bytes, { from: records[first]?.end ?? FROM }).found).toEqual(records.slice(first + 1));
      const page = FROM + (pick % (bytes.length / 8192)) * 8192;
      expect(scan(bytes, { from: page }).found).toEqual(records.filter(({ start }) => start >= page));
    }),
  );
});

test('ends at the first byte that is wrong', () => {
  fc.assert(
    fc.property(sizes, fc.nat(), fc.integer({ min: 1, max: 255 }), (lengths, pick, change) => {
      const { bytes, records } = walOf(lengths);
      const end = (records.at(-1)?.end ?? FROM) - FROM;
      const at = end && pick % end;
      bytes.writeUInt8(bytes.readUInt8(at) ^ change, at);
      const { found } = scan(bytes);
      expect(found).toEqual(records.slice(0, found.length));
      const sound = records.filter((record) => record.end - FROM <= at).length;
      // A byte between records, or one of a page header that says nothing about records, harms none.
      expect(found.length === records.length || found.length === sound).toBe(true);
    }),
  );
});

test('garbage never throws', () => {
  fc.assert(
    fc.property(
      sizes,
      fc.array(fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 40 }))),
      fc.boolean(),
      (lengths, spots, checksums) => {
        const { bytes } = walOf(lengths);
        for (const [at, garbage] of spots) bytes.set(garbage, at % (bytes.length - 40));
        scan(bytes, { checksums });
        scan(bytes, { checksums, from: FROM + 8192 });
      },
    ),
  );
});

const time = (us: bigint): Buffer => {
  const bytes = Buffer.alloc(12);
  bytes.writeBigInt64LE(us);
  return bytes;
};

test('tells the time of what ends a transaction, and of nothing else', () => {
  const short = Buffer.concat([Buffer.from([0xff, 12]), time(1_000_000n)]);
  const long = Buffer.concat([Buffer.from([0xfe, 0, 1, 0, 0]), time(2_000_000n), Buffer.alloc(244)]);
  const origin = Buffer.concat([Buffer.from([0xfd, 1, 0, 0xfc, 9, 0, 0, 0]), short]);
  const block = Buffer.concat([Buffer.alloc(20), short]);
  const { bytes } = writeWal(FROM, [
    { rmid: 1, info: 0x00, data: short },
    { rmid: 1, info: 0x80, data: long },
    { rmid: 1, info: 0x20, data: origin },
    { rmid: 1, info: 0x30, data: short },
    { rmid: 1, info: 0xc0, data: short },
    { rmid: 1, info: 0x10, data: short },
    { rmid: 1, info: 0x00, data: block },
    { rmid: 1, info: 0x00, data: short.subarray(0, 9) },
    { rmid: 1, info: 0x00, data: new Uint8Array() },
    { rmid: 10, info: 0x00, data: short },
  ]);
  const epoch = Date.UTC(2000, 0, 1) * 1000;
  const [one, two] = [epoch + 1_000_000, epoch + 2_000_000];
  const none = undefined;
  expect(scan(bytes).times).toEqual([one, two, one, one, one, none, none, none, none, none]);
});

test('tells the time of a commit whose header goes on over two pages', () => {
  for (let filler = 8080; filler < 8150; filler += 8) {
    const commit = { rmid: 1, data: Buffer.concat([Buffer.from([0xff, 12]), time(5n)]) };
    const { bytes, records } = writeWal(FROM, [{ data: new Uint8Array(filler) }, commit]);
    expect(scan(bytes)).toMatchObject({ found: records, times: [undefined, Date.UTC(2000, 0, 1) * 1000 + 5] });
  }
});

test('nothing is in a segment after the record that ends it', () => {
  const { bytes, records } = writeWal(FROM, [
    { data: new Uint8Array(100) },
    { rmid: 0, info: 0x40, data: new Uint8Array() },
    { data: new Uint8Array(100) },
  ]);
  const scanned = scan(bytes);
  expect(scanned.step).toBe('next-segment');
  expect(scanned.found).toEqual([records[0], { start: records[1]?.start, end: FROM + 16 * 1024 ** 2 }]);
});

test('refuses pages of another place or a later timeline', () => {
  const { bytes } = walOf([100]);
  expect(scan(bytes, { base: FROM + 16 * 1024 ** 2, from: FROM + 16 * 1024 ** 2 }).found).toEqual([]);
  bytes.writeUInt32LE(2, 4);
  expect(scan(bytes).found).toEqual([]);
});
