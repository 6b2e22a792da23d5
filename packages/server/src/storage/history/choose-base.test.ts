import { describe, expect, it } from 'vitest';
import { chooseBase, needsReplay } from './choose-base.ts';
import type { RestorePoint } from './lineage.ts';

const point = (pointId: string, redoLsn: bigint, given: Partial<RestorePoint> = {}): RestorePoint => ({
  pointId,
  place: 'points',
  kind: 'crash',
  timeline: 1,
  redoLsn,
  consistentLsn: redoLsn + 10n,
  takenAt: new Date(0),
  ...given,
});
const timelines = [{ timeline: 1, from: 0n }];
const choose = (points: readonly RestorePoint[], lsn: bigint): string | undefined =>
  chooseBase({ points, lsn, timelines })?.pointId;

describe('the base of a moment', () => {
  it('is the one with the least replay', () => {
    const points = [point('a', 100n), point('b', 200n), point('c', 300n)];
    expect(choose(points, 1000n)).toBe('c');
    expect(choose(points, 310n)).toBe('c');
    expect(choose(points, 309n)).toBe('b');
    expect(choose(points, 110n)).toBe('a');
    expect(choose(points, 109n)).toBeUndefined();
    expect(choose([], 109n)).toBeUndefined();
  });

  it('is consistent by then, wherever its replay begins', () => {
    expect(choose([point('a', 100n), point('late', 200n, { consistentLsn: 900n })], 500n)).toBe('a');
  });

  it('needs no replay at all if a cleanly stopped volume was there', () => {
    const clean = point('clean', 300n, { kind: 'clean', consistentLsn: 320n });
    expect(choose([clean, point('crash', 310n)], 320n)).toBe('clean');
    expect(choose([clean, point('crash', 310n)], 321n)).toBe('crash');
    expect(needsReplay(clean, 320n)).toBe(false);
    expect(needsReplay(clean, 321n)).toBe(true);
    expect(needsReplay(point('crash', 310n), 320n)).toBe(true);
  });

  it('is on the timelines that lead there, before they were left', () => {
    const forked = [
      { timeline: 1, from: 0n },
      { timeline: 3, from: 200n },
    ];
    const points = [
      point('before', 100n),
      point('left', 250n),
      point('other', 260n, { timeline: 2 }),
      point('after', 240n, { timeline: 3 }),
    ];
    const of = (lsn: bigint): string | undefined => chooseBase({ points, lsn, timelines: forked })?.pointId;
    expect(of(1000n)).toBe('after');
    expect(of(230n)).toBe('before');
  });
});
