import { findTime, lastRecordEndAtOrBefore } from '../../wal/find-moment.ts';
import { formatLsn, type Lsn } from '../../wal/lsn.ts';
import { segmentStart } from '../../wal/segment-name.ts';
import { walkWal } from '../../wal/wal-reader.ts';
import type { MomentRequest } from '../volume-store.ts';
import { chooseBase } from './choose-base.ts';
import type { Head } from './find-head.ts';
import type { Lineage, RestorePoint } from './lineage.ts';
import { isWhole, type LineageWal, walUpTo } from './lineage-wal.ts';
import { outOfHistory } from './out-of-history.ts';
import { horizonOf } from './prune.ts';
import { type TimeUs, timeUsOf } from './time-us.ts';

/** A moment that a lineage can be brought to, and how. */
export interface ResolvedMoment {
  readonly lsn: Lsn;
  readonly timeUs: TimeUs;
  /** As far as the timeline of the moment. */
  readonly wal: LineageWal;
  /** From where the least is to be replayed. */
  readonly base: RestorePoint;
}

export type PastMoment = Exclude<MomentRequest, { readonly kind: 'head' }>;

interface ResolveOptions {
  readonly lineage: Lineage;
  readonly head: Head;
  readonly at: PastMoment;
  readonly now: Date;
}

/** Where a record ends a page, Postgres may name the place after the header of the next one. */
const PAGE_HEADER_MAX = 40n;

/** Is the moment before this lineage began? Then it is its origin's. */
export function isBeforeBegin({ begin }: Lineage, at: PastMoment): boolean {
  return at.kind === 'lsn' ? at.lsn < begin.lsn : at.timeUs < begin.timeUs;
}

/**
 * Finds a moment that is not before the lineage's begin.
 * @throws PlatformError MOMENT_OUT_OF_HISTORY
 */
export async function resolveMoment(options: ResolveOptions): Promise<ResolvedMoment> {
  const { lineage, head, at, now } = options;
  assertKept(lineage, at, now);
  const found = at.kind === 'time' ? await findAtTime(options, at.timeUs) : await findAtLsn(options, at.lsn);
  const lsn = found.lsn > lineage.begin.lsn ? found.lsn : lineage.begin.lsn;
  const wal = walUpTo(head.wal, lsn);
  const base = chooseBase({ points: lineage.points, lsn, timelines: wal.timelines });
  if (!base || !isWhole(wal, base.redoLsn, lsn)) throw missing(at);
  return { lsn, timeUs: found.timeUs, wal, base };
}

/** @throws PlatformError MOMENT_OUT_OF_HISTORY if a time is in the future, or older than what the lineage keeps */
export function assertKept(lineage: Lineage, at: PastMoment, now: Date): void {
  if (at.kind !== 'time') return;
  // Of `now` the microseconds are not known.
  if (at.timeUs > timeUsOf(now) + 999) throw outOfHistory(at, 'timestamp is in the future');
  const horizon = horizonOf(lineage, now);
  if (at.timeUs < timeUsOf(horizon)) throw beforeWindow(at, horizon);
}

function beforeWindow(at: PastMoment, horizon: Date): Error {
  const name = at.kind === 'lsn' ? 'LSN' : 'timestamp';
  return outOfHistory(at, `${name} is before retention window, which begins at ${horizon.toISOString()}`);
}

/** It was pruned before the retention was made longer, or the host was away while WAL went by. */
const missing = (at: PastMoment): Error => outOfHistory(at, 'the history that it needs is not kept any more');

async function findAtTime({ lineage, head, at }: ResolveOptions, timeUs: TimeUs): Promise<Found> {
  const lsn = await lsnAtTime(lineage, head, timeUs);
  if (lsn === undefined) throw missing(at);
  return { lsn, timeUs };
}

interface Found {
  readonly lsn: Lsn;
  readonly timeUs: TimeUs;
}

/** The end of all that was committed at a time; undefined if WAL is missing on the way. */
export async function lsnAtTime({ points }: Lineage, head: Head, timeUs: TimeUs): Promise<Lsn | undefined> {
  // Records before a point's redo are older than the point.
  const from = (points.findLast(({ takenAt }) => timeUsOf(takenAt) <= timeUs) ?? points[0])?.redoLsn;
  if (from === undefined) return undefined;
  const found = await findTime(head.wal, from, timeUs);
  if (found.kind === 'end' && found.lsn < head.lsn) return undefined;
  return found.lsn < head.lsn ? found.lsn : head.lsn;
}

async function findAtLsn({ lineage, head, at, now }: ResolveOptions, asked: Lsn): Promise<Found> {
  if (asked > head.lsn + PAGE_HEADER_MAX) {
    throw outOfHistory(at, `LSN is in the future, the last one is ${formatLsn(head.lsn)}`);
  }
  const wanted = asked < head.lsn ? asked : head.lsn;
  const wal = walUpTo(head.wal, wanted);
  // A branch has no WAL from before the point that it began with.
  const floor = lineage.points.findLast(({ redoLsn }) => redoLsn < wanted)?.redoLsn ?? wanted;
  const lsn = await lastRecordEndAtOrBefore(wal, wanted, floor);
  if (lsn === undefined) throw missing(at);
  const horizon = horizonOf(lineage, now);
  if (lsn < head.lsn && (await isOlder(lineage, head, { lsn, horizon }))) throw beforeWindow(at, horizon);
  return { lsn, timeUs: await timeAt(lineage, wal, lsn) };
}

/** Is a moment before what was committed at the horizon? Reads WAL only where the points beside it cannot tell. */
async function isOlder(
  lineage: Lineage,
  head: Head,
  { lsn, horizon }: { readonly lsn: Lsn; readonly horizon: Date },
): Promise<boolean> {
  const { points } = lineage;
  const index = points.findLastIndex(({ takenAt }) => takenAt <= horizon);
  const last = points[index];
  if (last === undefined) return false;
  if (lsn < last.redoLsn) return true;
  const next = points[index + 1];
  if (next && lsn >= next.consistentLsn) return false;
  const oldest = await lsnAtTime(lineage, head, timeUsOf(horizon));
  return oldest === undefined || lsn < oldest;
}

/** The time of the last transaction that ended before a moment, as far back as the point before it. */
async function timeAt({ points, begin }: Lineage, wal: LineageWal, lsn: Lsn): Promise<TimeUs> {
  const point = points.findLast(({ redoLsn }) => redoLsn < lsn);
  const floor = point?.redoLsn ?? lsn;
  for (let start = segmentStart(lsn - 1n); ; start = segmentStart(start - 1n)) {
    const from = start > floor ? start : floor;
    let timeUs: TimeUs | undefined;
    await walkWal(wal, {
      from,
      checksums: false,
      visit: (record) => {
        if (record.end > lsn) return 'stop';
        timeUs = record.xactTimeUs ?? timeUs;
        return undefined;
      },
    });
    if (timeUs !== undefined) return Math.max(timeUs, begin.timeUs);
    if (from === floor) return Math.max(begin.timeUs, point ? timeUsOf(point.takenAt) : 0);
  }
}
