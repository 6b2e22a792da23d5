import type { Lsn } from './lsn.ts';
import { parsePageHeader } from './page-header.ts';
import { nextSegmentStart, segmentStart } from './segment-name.ts';
import { walkWal } from './wal-reader.ts';
import { withSegment, type WalSource } from './wal-source.ts';

const LONG_HEADER_BYTES = 40;
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
