import type { Lsn } from './lsn.ts';
import { PAGE_BYTES, parsePageHeader } from './page-header.ts';
import { nextSegmentStart, SEGMENT_BYTES, segmentStart } from './segment-name.ts';
import { walkWal } from './wal-reader.ts';
import { withSegment, type WalSource } from './wal-source.ts';

const LONG_HEADER_BYTES = 40;
const PAGE = BigInt(PAGE_BYTES);
const nothing = (): void => {};

/**
 * The end of the last valid record; `from` if none follows it. Looks only into the newest segment that has records, since Postgres writes WAL in
 * order: right for a running Postgres and for one that was stopped or killed, but not after the machine itself went
 * down (`findEndOfWalAfterCrash`).
 * @param from the end of a record, or the start of a segment, at or after which the end is known to be
 */
export async function findEndOfWal(source: WalSource, from: Lsn): Promise<Lsn> {
  for (let segment = await newestSegment(source, from); ; segment -= 1n) {
    const start = segmentStart(segment) > from ? segmentStart(segment) : from;
    const walked = await walkWal(source, { from: start, checksums: false, visit: nothing });
    if (walked.lastStart !== undefined) {
      const last = await walkWal(source, { from: walked.lastStart, checksums: true, visit: nothing });
      if (last.lastStart !== undefined) return last.end;
      const checked = await walkWal(source, { from: start, checksums: true, visit: nothing });
      if (checked.lastStart !== undefined) return checked.end;
    }
    if (start === from) return from;
    segment = start;
  }
}

/** Pages before a place in which the record that ends there is looked for: most are short. */
const NEAR_PAGES = [1n, 32n, BigInt(SEGMENT_BYTES / PAGE_BYTES)];

/**
 * The start of the record that ends at `end`; undefined if it does not begin in the segment that it ends in, or if none
 * ends there.
 */
export async function findLastStart(source: WalSource, end: Lsn): Promise<Lsn | undefined> {
  const segment = segmentStart(end - 1n);
  const page = segment + ((end - 1n - segment) / PAGE) * PAGE;
  for (const pages of NEAR_PAGES) {
    const near = page - pages * PAGE;
    const { end: found, lastStart } = await walkWal(source, {
      from: near > segment ? near : segment,
      checksums: true,
      visit: (record) => (record.end > end ? 'stop' : undefined),
    });
    if (lastStart !== undefined) return found === end ? lastStart : undefined;
    if (near <= segment) break;
  }
  return undefined;
}

/**
 * The end of the last valid record, every one from `from` on verified: pages that were never synced may be lost in the
 * middle, and Postgres goes on from the first record that is not whole.
 */
export async function findEndOfWalAfterCrash(source: WalSource, from: Lsn): Promise<Lsn> {
  return (await walkWal(source, { from, checksums: true, visit: nothing })).end;
}

/** The start of the newest segment, from the one of `from` on without a gap, that has at least a valid first page. */
async function newestSegment(source: WalSource, from: Lsn): Promise<Lsn> {
  let newest = segmentStart(from);
  while (await hasBegun(source, nextSegmentStart(newest))) newest = nextSegmentStart(newest);
  return newest;
}

async function hasBegun(source: WalSource, segment: Lsn): Promise<boolean> {
  const header = await withSegment(source, segment, async (file, timeline) => {
    const bytes = Buffer.alloc(LONG_HEADER_BYTES);
    await file.read(bytes, 0, bytes.length, 0);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return parsePageHeader(view, 0, { lsn: Number(segment), timeline });
  });
  return header !== undefined;
}
