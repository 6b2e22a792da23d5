import { readFileSync } from 'node:fs';
import { must } from '../kernel/assert.ts';
import { CAPACITY_NAMES, type Capacity, type ControlFile } from '../wal/control-file.ts';
import { findEndOfWal } from '../wal/find-end.ts';
import { type Lsn, parseLsn } from '../wal/lsn.ts';
import { branchVolume } from './branch-volume.ts';
import { getVolume } from './find-volume.ts';
import { archiveWal } from './history/archive-wal.ts';
import { ensureLineage } from './history/begin-lineage.ts';
import { findEnd, readLiveControlFile } from './history/find-head.ts';
import { type Lineage, neededFrom } from './history/lineage.ts';
import { isWhole, type LineageWal, openLineageWal, timelineOf } from './history/lineage-wal.ts';
import { lookAtWal, type WalLook } from './history/wal-look.ts';
import type { RestorePoints } from './restore-points.ts';
import type { StoreParts } from './store-parts.ts';
import { readVolumeRecord, type ReplicaRecord } from './volume-record.ts';
import type { ReplicaLook, ReplicaOptions, Volume } from './volume-store.ts';

/** A replica that is further behind starts sooner as a new clone. Only where a clone shares its blocks. */
const REPLAY_MAX = 512n * 1024n * 1024n;

/** What was seen at the last look of a replica. */
interface Followed {
  readonly look: WalLook;
  readonly end: Lsn;
}

/** Where a replica is. */
interface Position {
  /** Its replay begins here at the next start. */
  readonly redo: Lsn;
  /** It is consistent from here on, and may hold what was written up to here. */
  readonly reached: Lsn;
  readonly timeline: number;
}

/**
 * Read replicas: clones that stay standbys. A primary's WAL reaches them as links to the very files that it writes, the
 * unfinished one too, so that a standby reads on as that one grows. Nothing is sent, and nothing is written twice.
 */
export class Replicas {
  readonly #parts: StoreParts;
  readonly #points: RestorePoints;
  readonly #followed = new Map<string, Followed>();

  constructor(parts: StoreParts, points: RestorePoints) {
    this.#parts = parts;
    this.#points = points;
  }

  /** A clone of the primary's head. The caller has the turn of the replica's id, and removes what a failure leaves. */
  async make({ volumeId, primaryId, owner, backup }: ReplicaOptions): Promise<void> {
    const options = { volumeId, sourceId: primaryId, at: { kind: 'head' }, owner, backup } as const;
    const replica = { primaryId, bootId: bootId() };
    await branchVolume(this.#parts, this.#points, { ...options, historyRetentionSeconds: 0 }, replica);
  }

  forget(volumeId: string): void {
    this.#followed.delete(volumeId);
  }

  /**
   * Links what the primary has written since, if the replica can go on from there: it is of this primary, and all WAL
   * between the two is here. What a primary lost when the machine went down, a replica may have: so none outlives a boot.
   */
  async catchUp(volume: Volume, primaryId: string): Promise<boolean> {
    const { layout, lineageTurns, backend } = this.#parts;
    const { replica } = must(await readVolumeRecord(layout.volumeDir(volume.volumeId)));
    if (replica?.primaryId !== primaryId || replica.bootId !== bootId()) return false;
    return await lineageTurns.take(primaryId, async () => {
      const primary = await getVolume(layout, primaryId);
      const { control, lineage, wal } = await this.#lookAtPrimary(primary);
      const position = positionOf(replica, (await readLiveControlFile(volume.dataPath)).control);
      if (!wal) return position.reached <= lineage.begin.lsn;
      const end = await findEnd(wal, control, this.#parts.still.isClaimed(primaryId));
      const isFar = backend.info.capabilities.cowClone && end - position.redo > REPLAY_MAX;
      if (isFar || end < position.reached || !isOnTheWay(wal, position) || !isWhole(wal, position.redo, end))
        return false;
      const look = await this.#link(volume, { primaryId, from: position.redo });
      this.#followed.set(volume.volumeId, { look, end });
      return true;
    });
  }

  /** Links new WAL; finds its end by reading on from where it was at the last look. */
  async follow(volume: Volume): Promise<ReplicaLook> {
    const { layout } = this.#parts;
    const primaryId = must(volume.replicaOf);
    const { control, lineage, wal } = await this.#lookAtPrimary(await getVolume(layout, primaryId));
    const { capacity } = control;
    if (!wal) return { kind: 'following', end: lineage.begin.lsn, capacity };
    const last = this.#followed.get(volume.volumeId);
    const { redo: from } = (await readLiveControlFile(volume.dataPath)).control;
    const look = await this.#link(volume, { primaryId, from, last: last?.look });
    const end = await findEndOfWal(wal, last?.end ?? from);
    this.#followed.set(volume.volumeId, { look, end });
    // The end is looked for up to the first segment that is missing.
    return control.redo > end ? { kind: 'lost' } : { kind: 'following', end, capacity };
  }

  /** What a standby needs room for: as much as the WAL says that it replayed last, and as its primary has by now. */
  async capacityFor(volume: Volume): Promise<Capacity> {
    const primary = await getVolume(this.#parts.layout, must(volume.replicaOf));
    const [own, its] = await Promise.all(
      [volume, primary].map(async ({ dataPath }) => await readLiveControlFile(dataPath)),
    );
    const most = (name: keyof Capacity): number =>
      Math.max(must(own).control.capacity[name], must(its).control.capacity[name]);
    return Object.fromEntries(CAPACITY_NAMES.map((name) => [name, most(name)])) as Record<keyof Capacity, number>;
  }

  /**
   * Brings the primary's history up to date. `wal` is undefined while the primary has never been in production: it has
   * nothing then but what its clone had, and what a promotion that was cut short has written is not its own.
   */
  async #lookAtPrimary(
    primary: Volume,
  ): Promise<{ readonly control: ControlFile; readonly lineage: Lineage; readonly wal: LineageWal | undefined }> {
    const lineage = await ensureLineage(this.#parts, primary);
    // In this order: the history then holds all that the control file speaks of.
    const { control } = await readLiveControlFile(primary.dataPath);
    const isNew = primary.needsPromotion || isInRecovery(control);
    if (isNew) return { control, lineage, wal: undefined };
    const historyPath = this.#parts.layout.historyDir(primary.volumeId);
    await archiveWal({ walPath: primary.walPath, historyPath, from: neededFrom(lineage) });
    return { control, lineage, wal: await openLineageWal(historyPath, timelineOf(control)) };
  }

  /** The replica's own copy of a segment, cut where it was cloned, gives way to the one that the primary writes. */
  async #link(
    volume: Volume,
    { primaryId, from, last }: { readonly primaryId: string; readonly from: Lsn; readonly last?: WalLook | undefined },
  ): Promise<WalLook> {
    const walPath = this.#parts.layout.historyDir(primaryId);
    return await lookAtWal({ walPath, historyPath: volume.walPath, from, last });
  }
}

/** `pg_control` of a replica that was never started may be that of its source. */
function positionOf({ redoLsn }: ReplicaRecord, control: ControlFile): Position {
  const timeline = timelineOf(control);
  if (isInRecovery(control)) return { redo: control.redo, reached: control.minRecoveryPoint, timeline };
  return { redo: must(parseLsn(redoLsn)), reached: 0n, timeline };
}

/** Also the state of a clone before its first start. */
const isInRecovery = ({ state }: ControlFile): boolean =>
  state === 'shut down in recovery' || state === 'in archive recovery';

/** Is a position on the timelines that led to the end of this WAL, before they forked off? */
function isOnTheWay({ timelines }: LineageWal, { timeline, reached }: Position): boolean {
  const at = timelines.findIndex((start) => start.timeline === timeline);
  const next = timelines[at + 1];
  return at !== -1 && (next === undefined || reached <= next.from);
}

/** Where it cannot be told, it never changes: a machine that goes down there may leave a replica ahead of its primary. */
function bootId(): string {
  if (process.platform !== 'linux') return '';
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}
