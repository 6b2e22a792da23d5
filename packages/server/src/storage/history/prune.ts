import type { Lineage, RestorePoint } from './lineage.ts';

/** The time before which a lineage need not be restorable. */
export const horizonOf = ({ retentionSeconds }: Lineage, now: Date): Date =>
  new Date(now.getTime() - retentionSeconds * 1000);

/**
 * The points that a lineage still needs: the newest that was consistent before the horizon, and all after it. A volume
 * that sleeps for long keeps its last.
 */
export function pointsToKeep(lineage: Lineage, now: Date): readonly RestorePoint[] {
  const horizon = horizonOf(lineage, now);
  const first = lineage.points.findLastIndex(({ takenAt }) => takenAt <= horizon);
  return first <= 0 ? lineage.points : lineage.points.slice(first);
}
