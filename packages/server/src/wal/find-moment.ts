import type { Lsn } from './lsn.ts';
import { nextSegmentStart, segmentStart } from './segment-name.ts';
import { walkWal } from './wal-reader.ts';
import { withSegment, type WalSource } from './wal-source.ts';

/**
 * The greatest end of a record that is at or before `lsn`; undefined if no record from `from` on ends before it in the
 * WAL that is here without a gap. Where WAL ends before `lsn`, it is that end.
 * @param from the end of a record, or the start of a segment: nothing before it is looked at
 */
export async function lastRecordEndAtOrBefore(source: WalSource, lsn: Lsn, from: Lsn): Promise<Lsn | undefined> {
  for (let at = lsn - 1n; at >= from; at = segmentStart(at) - 1n) {
    if (!(await isPresent(source, at))) return undefined;
    const found = await walkWal(source, {
      from: segmentStart(at) > from ? segmentStart(at) : from,
      checksums: true,
      visit: (record) => (record.end > lsn ? 'stop' : undefined),
    });
    if (found.lastStart !== undefined) return found.end;
  }
  return undefined;
}

/** Times in microseconds since 1970. `lastXactTimeUs`: of the last commit or abort before the cut that was seen, if any. */
export type TimeFound =
  | { readonly kind: 'cut'; readonly lsn: Lsn; readonly timeUs: number; readonly lastXactTimeUs: number | undefined }
  | { readonly kind: 'end'; readonly lsn: Lsn; readonly lastXactTimeUs: number | undefined };

/** What the wall clock of file times may lag behind the one of transactions. */
const MTIME_SLACK_US = 1_000_000;

/**
 * Where to cut WAL so that everything before the first transaction that ended (committed or aborted) after `timeUs` is
 * in: `cut` with the end of the last record before it, and its time; or `end`, the end of WAL, if none ended that late.
 * @param from the end of a record, or the start of a segment: the search begins there
 */
export async function findTime(source: WalSource, from: Lsn, timeUs: number): Promise<TimeFound> {
  const first = await firstSegmentThatMayHold(source, from, timeUs);
  // One more, which ends before the time: the last transaction before the cut is most likely in it.
  for (let segment = first - 1n; ; segment = segmentStart(segment) - 1n) {
    const start = segmentStart(segment) > from ? segmentStart(segment) : from;
    const found = await walkToTime(source, start, timeUs);
    if (found.lastXactTimeUs !== undefined || start === from) return found;
  }
}

async function walkToTime(source: WalSource, from: Lsn, timeUs: number): Promise<TimeFound> {
  let lastXactTimeUs: number | undefined;
  let cutTimeUs = 0;
  const { end, isStopped } = await walkWal(source, {
    from,
    checksums: true,
    visit: (record) => {
      const xactTimeUs = record.xactTimeUs;
      if (xactTimeUs === undefined) return undefined;
      if (xactTimeUs > timeUs) {
        cutTimeUs = xactTimeUs;
        return 'stop';
      }
      lastXactTimeUs = xactTimeUs;
      return undefined;
    },
  });
  return isStopped
    ? { kind: 'cut', lsn: end, timeUs: cutTimeUs, lastXactTimeUs }
    : { kind: 'end', lsn: end, lastXactTimeUs };
}

/**
 * The start of the first segment that may hold a transaction that ended after the time. A transaction takes its time
 * before it writes its record, so a file that was last written before the time holds no such record, unless the clock was
 * set back. The newest segment is never passed over. A copy is newer than what it holds: read for nothing, no harm.
 */
async function firstSegmentThatMayHold(source: WalSource, from: Lsn, timeUs: number): Promise<Lsn> {
  let segment = segmentStart(from);
  for (;;) {
    const next = nextSegmentStart(segment);
    const writtenUs = await withSegment(source, segment, async (file) => (await file.stat()).mtimeMs * 1000);
    if (writtenUs === undefined || writtenUs >= timeUs - MTIME_SLACK_US) return segment;
    if (!(await isPresent(source, next))) return segment;
    segment = next;
  }
}

const isPresent = async (source: WalSource, lsn: Lsn): Promise<boolean> =>
  (await withSegment(source, lsn, () => Promise.resolve(true))) === true;
