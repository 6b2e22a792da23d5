import { describe, expect, it } from 'vitest';
import type { Lineage, RestorePoint } from './lineage.ts';
import { pointsToKeep } from './prune.ts';

const at = (minutes: number): Date => new Date(minutes * 60_000);
const point = (minute: number): RestorePoint => ({
  pointId: `at-${minute}`,
  place: 'points',
  kind: 'crash',
  timeline: 1,
  redoLsn: BigInt(minute),
  consistentLsn: BigInt(minute),
  takenAt: at(minute),
});
const lineage = (retentionSeconds: number, minutes: readonly number[]): Lineage => ({
  volumeId: 'br-a',
  retentionSeconds,
  begin: { lsn: 0n, timeline: 1, timeUs: 0 },
  originId: null,
  points: minutes.map(point),
});
const kept = (retentionSeconds: number, minutes: readonly number[], now: number): readonly string[] =>
  pointsToKeep(lineage(retentionSeconds, minutes), at(now)).map(({ pointId }) => pointId);

describe('pruning', () => {
  it('keeps the newest point before the horizon and all after it', () => {
    expect(kept(600, [0, 5, 10, 15], 17)).toEqual(['at-5', 'at-10', 'at-15']);
    expect(kept(600, [0, 5, 10, 15], 15)).toEqual(['at-5', 'at-10', 'at-15']);
    expect(kept(600, [0, 5, 10, 15], 14)).toEqual(['at-0', 'at-5', 'at-10', 'at-15']);
  });

  it('keeps the last one of a volume that has slept for long', () => {
    expect(kept(600, [0, 5], 100_000)).toEqual(['at-5']);
  });

  it('keeps one without any retention', () => {
    expect(kept(0, [0, 5], 5)).toEqual(['at-5']);
    expect(kept(0, [], 5)).toEqual([]);
  });
});
