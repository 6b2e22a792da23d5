import type { Lsn } from '../../wal/lsn.ts';
import type { TimelineStart } from '../../wal/timelines.ts';
import type { RestorePoint } from './lineage.ts';

export interface BaseRequest {
  readonly points: readonly RestorePoint[];
  readonly lsn: Lsn;
  /** The timelines that lead to `lsn`, oldest first. */
  readonly timelines: readonly TimelineStart[];
}

/** The point from which a moment takes the least replay; undefined if there is none from which it can be reached. */
export function chooseBase({ points, lsn, timelines }: BaseRequest): RestorePoint | undefined {
  let best: RestorePoint | undefined;
  for (const point of points) {
    if (point.consistentLsn > lsn || !isOnTheWay(point, timelines)) continue;
    if (best === undefined || isBetter(point, best, lsn)) best = point;
  }
  return best;
}

/** A base newer than the moment, or on a timeline that was left before, would be silently wrong. */
function isOnTheWay({ timeline, consistentLsn }: RestorePoint, timelines: readonly TimelineStart[]): boolean {
  const index = timelines.findIndex((candidate) => candidate.timeline === timeline);
  const next = timelines[index + 1];
  return index >= 0 && (next === undefined || consistentLsn <= next.from);
}

function isBetter(point: RestorePoint, best: RestorePoint, lsn: Lsn): boolean {
  if (needsReplay(point, lsn) !== needsReplay(best, lsn)) return !needsReplay(point, lsn);
  return point.redoLsn > best.redoLsn;
}

/** False where a clone of the point is the moment: it is simply another volume on the same timeline. */
export function needsReplay({ kind, consistentLsn }: RestorePoint, lsn: Lsn): boolean {
  return kind !== 'clean' || consistentLsn !== lsn;
}
