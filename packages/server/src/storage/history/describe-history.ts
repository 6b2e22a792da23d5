import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { findVolume, getVolume } from '../find-volume.ts';
import type { StoreParts } from '../store-parts.ts';
import type { Moment, VolumeHistory } from '../volume-store.ts';
import { forEachParallel, listTree } from '../walk-tree.ts';
import { ensureLineage } from './begin-lineage.ts';
import type { Lineage } from './lineage.ts';
import { findHeadOf } from './plan-moment.ts';
import { horizonOf } from './prune.ts';
import { lsnAtTime } from './resolve-moment.ts';
import { timeUsOf } from './time-us.ts';

/** @throws PlatformError NOT_FOUND */
export async function describeHistory(parts: StoreParts, volumeId: string): Promise<VolumeHistory> {
  const now = new Date();
  const volume = await getVolume(parts.layout, volumeId);
  const lineage = await ensureLineage(parts, volume);
  const head = await findHeadOf(parts, { volume, lineage });
  return {
    oldest: await findOldest(parts, volumeId, horizonOf(lineage, now)),
    newest: { lsn: head.lsn, timeUs: timeUsOf(now) },
    bytes: await historyBytes(parts, lineage),
  };
}

/** Of a volume that is kept compressed: its history holds its head alone, and takes no space of its own. */
export function describeArchived(lineage: Lineage): VolumeHistory {
  const now = new Date();
  const { lsn, timeUs } = lineage.begin;
  return {
    oldest: { lsn, timeUs: Math.max(timeUs, timeUsOf(horizonOf(lineage, now))) },
    newest: { lsn, timeUs: timeUsOf(now) },
    bytes: 0,
  };
}

/** The first moment at or after the horizon, be it in the lineage of a volume that this one came from. */
async function findOldest(parts: StoreParts, volumeId: string, horizon: Date): Promise<Moment> {
  const horizonUs = timeUsOf(horizon);
  for (let nextId = volumeId; ;) {
    const volume = await getVolume(parts.layout, nextId);
    const lineage = await ensureLineage(parts, volume);
    const { begin, points, originId } = lineage;
    if (begin.timeUs > horizonUs && originId !== null && (await findVolume(parts.layout, originId))) {
      nextId = originId;
      continue;
    }
    const [first] = points;
    const head = await findHeadOf(parts, { volume, lineage });
    if (!first) return { lsn: head.lsn, timeUs: timeUsOf(new Date()) };
    // A volume from before there was history begins with its first point.
    if (first.consistentLsn > begin.lsn && timeUsOf(first.takenAt) > horizonUs) {
      return { lsn: first.consistentLsn, timeUs: timeUsOf(first.takenAt) };
    }
    if (begin.timeUs > horizonUs) return { lsn: begin.lsn, timeUs: begin.timeUs };
    const lsn = (await lsnAtTime(lineage, head, horizonUs)) ?? head.lsn;
    return { lsn: lsn > begin.lsn ? lsn : begin.lsn, timeUs: horizonUs };
  }
}

/** WAL that no volume holds by another name, and what only this lineage's points own. */
async function historyBytes({ layout, backend }: StoreParts, { volumeId, points }: Lineage): Promise<number> {
  const directory = layout.historyDir(volumeId);
  let bytes = 0;
  await forEachParallel(await listTree(directory), async ({ path }) => {
    const { nlink, blocks } = await lstat(join(directory, path));
    if (nlink === 1) bytes += blocks * 512;
  });
  for (const point of points) {
    if (point.place !== 'points') continue;
    bytes += (await backend.measureTree(layout.pointTree(point))).exclusiveBytes;
  }
  return bytes;
}
