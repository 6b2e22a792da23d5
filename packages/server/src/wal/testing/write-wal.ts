import { crc32c } from '../crc32c.ts';
import { SEGMENT_BYTES } from '../segment-name.ts';

const PAGE = 8192;

export interface RecordToWrite {
  readonly rmid?: number;
  readonly info?: number;
  readonly data: Uint8Array;
}

export interface WrittenWal {
  /** Whole pages, from `from` on. */
  readonly bytes: Buffer;
  readonly records: readonly { readonly start: number; readonly end: number }[];
}

/** For tests: WAL as Postgres 17 writes it, from the start of a page. */
export function writeWal(from: number, records: readonly RecordToWrite[]): WrittenWal {
  const bytes = Buffer.alloc(
    (Math.ceil(records.reduce((sum, { data }) => sum + data.length + 64, 0) / 8000) + 2) * PAGE,
  );
  const written: { start: number; end: number }[] = [];
  let at = 0;
  const enterPage = (remaining: number): void => {
    if (at % PAGE !== 0) return;
    const isLong = (from + at) % SEGMENT_BYTES === 0;
    bytes.writeUInt16LE(0xd116, at);
    bytes.writeUInt16LE((remaining > 0 ? 1 : 0) | (isLong ? 2 : 0), at + 2);
    bytes.writeUInt32LE(1, at + 4);
    bytes.writeBigUInt64LE(BigInt(from + at), at + 8);
    bytes.writeUInt32LE(remaining, at + 16);
    if (isLong) bytes.writeUInt32LE(SEGMENT_BYTES, at + 32);
    if (isLong) bytes.writeUInt32LE(PAGE, at + 36);
    at += isLong ? 40 : 24;
  };
  for (const { rmid = 10, info = 0, data } of records) {
    enterPage(0);
    const start = from + at;
    const record = makeRecord(data, { rmid, info, previous: written.at(-1)?.start ?? 0 });
    for (let done = 0; done < record.length;) {
      enterPage(record.length - done);
      const size = Math.min(record.length - done, PAGE - (at % PAGE));
      record.copy(bytes, at, done, done + size);
      done += size;
      at += size;
    }
    at = Math.ceil(at / 8) * 8;
    written.push({ start, end: from + at });
  }
  return { bytes, records: written };
}

function makeRecord(data: Uint8Array, header: { rmid: number; info: number; previous: number }): Buffer {
  const record = Buffer.concat([Buffer.alloc(24), data]);
  record.writeUInt32LE(record.length, 0);
  record.writeUInt32LE(731, 4);
  record.writeBigUInt64LE(BigInt(header.previous), 8);
  record.writeUInt8(header.info, 16);
  record.writeUInt8(header.rmid, 17);
  record.writeUInt32LE(crc32c(record, 0, 20, crc32c(record, 24)), 20);
  return record;
}
