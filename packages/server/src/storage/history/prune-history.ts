import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf } from '../../kernel/errors.ts';
import { readControlFile } from '../../wal/control-file.ts';
import type { Lsn } from '../../wal/lsn.ts';
import { parseSegmentName, segmentStart } from '../../wal/segment-name.ts';
import { findVolume } from '../find-volume.ts';
import type { RestorePoints } from '../restore-points.ts';
import type { StoreParts } from '../store-parts.ts';
import { archiveWal } from './archive-wal.ts';
import { type Lineage, neededFrom } from './lineage.ts';
import { pointsToKeep } from './prune.ts';

/** Drops what retention no longer asks for. Reads no disk for a lineage that has nothing to drop. */
export class Pruner {
  readonly #parts: StoreParts;
  readonly #points: RestorePoints;
  /** Volumes that were not in use since they were last pruned. At first all are looked at: a crash may have left WAL. */
  readonly #settled = new Set<string>();

  constructor(parts: StoreParts, points: RestorePoints) {
    this.#parts = parts;
    this.#points = points;
  }

  /** A volume is or was in use, or its history changed: the next pruning looks at its files. */
  touch(volumeId: string): void {
    this.#settled.delete(volumeId);
  }

  async prune(): Promise<void> {
    const now = new Date();
    for (const lineage of await this.#parts.lineages.list()) {
      const { volumeId } = lineage;
      if (this.#settled.has(volumeId) && pointsToKeep(lineage, now).length === lineage.points.length) continue;
      try {
        await this.#parts.lineageTurns.take(volumeId, () => this.#pruneOne(volumeId, now));
      } catch (error) {
        this.#parts.log.warn({ volumeId, reason: messageOf(error) }, 'cannot prune the history of a volume');
      }
    }
  }

  /** The record first: then nothing refers to what goes. */
  async #pruneOne(volumeId: string, now: Date): Promise<void> {
    const { lineages, layout, still } = this.#parts;
    const lineage = await lineages.find(volumeId);
    if (!lineage) return;
    const kept = pointsToKeep(lineage, now);
    const dropped = lineage.points.slice(0, lineage.points.length - kept.length);
    const pruned = { ...lineage, points: kept };
    if (dropped.length > 0) await lineages.put(pruned);
    await removeSegmentsBefore(layout.historyDir(volumeId), neededFrom(pruned));
    await this.#points.removeUnreferenced(dropped);
    if (still.isClaimed(volumeId)) return;
    this.#settled.add(volumeId);
    await still.whileStill(
      volumeId,
      () => this.#trim(pruned),
      async () => this.touch(volumeId),
    );
  }

  /** A volume that was stopped cleanly starts from its last checkpoint; WAL before that is only history. */
  async #trim(lineage: Lineage): Promise<void> {
    const { layout } = this.#parts;
    const { volumeId } = lineage;
    const volume = await findVolume(layout, volumeId);
    if (!volume || volume.needsPromotion) return;
    const { control } = await readControlFile(volume.dataPath);
    if (control.state !== 'shut down' || (await hasSlots(volume.dataPath))) return;
    const historyPath = layout.historyDir(volumeId);
    await archiveWal({ walPath: volume.walPath, historyPath, from: neededFrom(lineage) });
    await removeSegmentsBefore(volume.walPath, control.redo);
  }
}

export async function removeSegmentsBefore(directory: string, lsn: Lsn): Promise<void> {
  const first = segmentStart(lsn);
  for (const name of await readdir(directory)) {
    const segment = parseSegmentName(name);
    if (segment && segment.start < first) await rm(join(directory, name), { force: true });
  }
}

/** A replication slot reads on where its reader left off. */
export async function hasSlots(dataPath: string): Promise<boolean> {
  try {
    return (await readdir(join(dataPath, 'pg_replslot'))).length > 0;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}
