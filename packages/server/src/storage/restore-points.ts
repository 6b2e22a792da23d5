import { randomBytes } from 'node:crypto';
import { readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../kernel/atomic-file.ts';
import { codeOf, messageOf } from '../kernel/errors.ts';
import { readControlFile } from '../wal/control-file.ts';
import { type Lsn, parseLsn } from '../wal/lsn.ts';
import { dataPathOf } from './backends/backend.ts';
import { cleanClone } from './clean-clone.ts';
import { archiveWal } from './history/archive-wal.ts';
import { findEnd, readLiveControlFile } from './history/find-head.ts';
import { type Lineage, neededFrom, type RestorePoint, withPoint } from './history/lineage.ts';
import { openLineageWal, timelineOf } from './history/lineage-wal.ts';
import { afterNow } from './history/time-us.ts';
import type { StoreParts } from './store-parts.ts';
import type { BackupSession, Volume } from './volume-store.ts';

export interface MakePointOptions {
  readonly volume: Volume;
  readonly lineage: Lineage;
  readonly backup: BackupSession | undefined;
}

interface ClonedVolume extends Pick<MakePointOptions, 'volume' | 'lineage'> {
  readonly staging: string;
  readonly isClaimed: boolean;
}

/** What a tree is, once it is made: how a clone of it comes back to life. */
interface PointFacts extends Omit<RestorePoint, 'pointId' | 'place'> {
  /** Later than all that was committed before `consistentLsn`, and hardly later than that. */
  readonly endedAt: Date;
}

interface MadePoint {
  readonly lineage: Lineage;
  readonly point: RestorePoint;
  /** As in `PointFacts`. */
  readonly endedAt: Date;
}

/** The points of this machine. Lineages refer to them; one that none refers to goes. */
export class RestorePoints {
  readonly #parts: StoreParts;

  constructor(parts: StoreParts) {
    this.#parts = parts;
  }

  /**
   * Makes a point of a volume as it is, and enters it in the lineage, whose turn the caller has. By way of staging: a
   * crash leaves a point that is in its lineage, or one that `recover` removes.
   * @returns undefined where a volume that runs cannot be cloned as one moment, and no backup session is given
   */
  async make(options: MakePointOptions): Promise<MadePoint | undefined> {
    const { layout, backend, still, lineages } = this.#parts;
    const { volume, lineage, backup } = options;
    const pointId = `${volume.volumeId}.${randomBytes(4).toString('hex')}`;
    const staging = join(layout.treeDir('staging'), pointId);
    try {
      const cloned = await still.whileStill(
        volume.volumeId,
        () => this.#cloneStill(options, staging),
        () => {
          if (backend.info.capabilities.atomicLiveSnapshot) return this.#cloneRunning(options, staging);
          return backup ? this.#cloneWithBackup(options, staging, backup) : Promise.resolve(undefined);
        },
      );
      if (!cloned) return undefined;
      const { endedAt, ...facts } = cloned;
      await cleanClone(dataPathOf(staging));
      await backend.settleTree(staging);
      const point: RestorePoint = { pointId, place: 'points', ...facts };
      await rename(staging, layout.pointTree(point));
      await syncDirectory(layout.treeDir('points'));
      const changed = withPoint(lineage, point);
      await lineages.put(changed);
      return { lineage: changed, point, endedAt };
    } catch (error) {
      await backend.removeTree(staging);
      // It may have got its place already.
      await this.#removeUnreferenced(pointId);
      throw error;
    }
  }

  /** Removes those of these points that no lineage refers to. What fails is left to `recover`. */
  async removeUnreferenced(points: readonly RestorePoint[]): Promise<void> {
    for (const { pointId, place } of points) if (place === 'points') await this.#removeUnreferenced(pointId);
  }

  async recover(): Promise<void> {
    for (const pointId of await readdir(this.#parts.layout.treeDir('points'))) await this.#removeUnreferenced(pointId);
  }

  async #removeUnreferenced(pointId: string): Promise<void> {
    const { layout, backend, lineages, log } = this.#parts;
    if (await lineages.isReferenced(pointId)) return;
    const trash = join(layout.treeDir('trash'), pointId);
    try {
      await rename(join(layout.treeDir('points'), pointId), trash);
      await backend.removeTree(trash);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return;
      log.warn({ pointId, reason: messageOf(error) }, 'cannot remove a restore point; the next start tries again');
    }
  }

  async #cloneStill({ volume, lineage }: MakePointOptions, staging: string): Promise<PointFacts> {
    const { layout, backend } = this.#parts;
    await backend.cloneTree(layout.volumeDir(volume.volumeId), staging, volume.owner);
    return this.#factsOf({ volume, lineage, staging, isClaimed: false });
  }

  async #cloneRunning({ volume, lineage }: MakePointOptions, staging: string): Promise<PointFacts> {
    const { layout, backend } = this.#parts;
    await backend.cloneRunningTree(layout.volumeDir(volume.volumeId), staging, volume.owner);
    return this.#factsOf({ volume, lineage, staging, isClaimed: true });
  }

  /** The end of WAL is found after the clone was made: it may hold pages that were written until then. */
  async #factsOf({ volume, lineage, staging, isClaimed }: ClonedVolume): Promise<PointFacts> {
    const takenAt = afterNow();
    const historyPath = this.#parts.layout.historyDir(volume.volumeId);
    const { control } = await readControlFile(dataPathOf(staging));
    await archiveWal({ walPath: volume.walPath, historyPath, from: neededFrom(lineage) });
    const timeline = timelineOf(control);
    const wal = await openLineageWal(historyPath, timeline);
    const consistentLsn = await findEnd(wal, control, isClaimed);
    const endedAt = afterNow();
    const kind = control.state === 'shut down' ? 'clean' : 'crash';
    return { kind, timeline, redoLsn: control.redo, consistentLsn, takenAt, endedAt };
  }

  async #cloneWithBackup(
    { volume, lineage }: MakePointOptions,
    staging: string,
    backup: BackupSession,
  ): Promise<PointFacts> {
    const { layout, backend } = this.#parts;
    await backup.start(`point of ${volume.volumeId}`);
    const takenAt = afterNow();
    await backend.cloneRunningTree(layout.volumeDir(volume.volumeId), staging, volume.owner);
    // Whole, and the last: the clone's own may be half of an old one and half of a new one.
    const { bytes } = await readLiveControlFile(volume.dataPath);
    await writeFile(join(dataPathOf(staging), 'global/pg_control'), bytes);
    const { label, lsn } = await backup.stop();
    const endedAt = afterNow();
    const historyPath = layout.historyDir(volume.volumeId);
    await archiveWal({ walPath: volume.walPath, historyPath, from: neededFrom(lineage) });
    await writeFile(join(dataPathOf(staging), 'backup_label'), label, { mode: 0o600 });
    return { kind: 'backup', ...parseBackupLabel(label), consistentLsn: lsn, takenAt, endedAt };
  }
}

/** @throws Error if Postgres' words are not what we know */
function parseBackupLabel(label: string): { redoLsn: Lsn; timeline: number } {
  const redoLsn = parseLsn(/^START WAL LOCATION: (\S+)/m.exec(label)?.[1] ?? '');
  const timeline = Number(/^START TIMELINE: (\d+)/m.exec(label)?.[1]);
  if (redoLsn === undefined || !(timeline > 0)) throw new Error('Cannot read the label of a backup');
  return { redoLsn, timeline };
}
