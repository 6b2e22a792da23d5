import { messageOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { BackupSession, VolumeStore } from '../storage/volume-store.ts';
import { readControlFile } from '../wal/control-file.ts';

/** A compute that runs on a volume, as far as history needs it. */
export interface RunningCompute {
  readonly volumeId: string;
  readonly dataPath: string;
  openBackup(): Promise<BackupSession>;
}

/**
 * WAL after which a volume gets a restore point: replay of less takes about a second. Where a point is a copy of all
 * files, it is made only once there is as much WAL as data, so that history at most doubles what is written.
 */
export const POINT_BYTES = 512 * 1024 ** 2;

interface Kept {
  /** What is under way; one thing at a time. */
  work: Promise<void> | undefined;
  /** Where redo began when a point was found to be due. */
  redo: bigint | undefined;
  /** The failure that is logged already. */
  failure: string | undefined;
}

/**
 * Keeps the history of volumes up with what computes write: links new WAL at every look, and makes restore points.
 * Whatever fails here is logged once, tried again at the next look, and never hurts a compute.
 */
export class HistoryKeeper {
  readonly #volumes: VolumeStore;
  readonly #log: Log;
  readonly #kept = new Map<string, Kept>();

  constructor({ volumes, log }: { readonly volumes: VolumeStore; readonly log: Log }) {
    this.#volumes = volumes;
    this.#log = log;
  }

  /** Called at every look at a running compute. Does nothing while the last call's work is not done. */
  look(compute: RunningCompute): void {
    const { volumeId } = compute;
    if (!this.#keptOf(volumeId).work) void this.#run(volumeId, async () => await this.#keepRunning(compute));
  }

  /** Links what there is, without a point. For a volume whose compute was found, or has ended unseen. */
  async archive(volumeId: string): Promise<void> {
    await this.#afterOthers(volumeId, async () => void (await this.#volumes.archive(volumeId)));
  }

  /**
   * After the end of a compute: the rest of its WAL, and a restore point under the same rule. Where a point is a plain
   * copy, it is left to the next running compute, since a wake would have to wait for the copy.
   */
  async ended(volumeId: string, { makesPoint }: { readonly makesPoint: boolean }): Promise<void> {
    await this.#afterOthers(volumeId, async () => {
      const { walSincePoint } = await this.#volumes.archive(volumeId);
      const isDue = makesPoint && this.#volumes.backend.capabilities.cowClone && walSincePoint >= POINT_BYTES;
      if (isDue) await this.#makePoint(volumeId, undefined);
    });
  }

  /** Resolves once nothing is under way on a volume. */
  async settled(volumeId: string): Promise<void> {
    while (this.#kept.get(volumeId)?.work) await this.#kept.get(volumeId)?.work;
  }

  async #keepRunning(compute: RunningCompute): Promise<void> {
    const { volumeId } = compute;
    const { walSincePoint } = await this.#volumes.archive(volumeId);
    if (walSincePoint < POINT_BYTES) return;
    const bytes = await this.#pointBytes(volumeId);
    if (walSincePoint < bytes || !(await this.#isGoodMoment(compute, walSincePoint >= 2 * bytes))) return;
    if (this.#volumes.backend.capabilities.atomicLiveSnapshot) return await this.#makePoint(volumeId, undefined);
    const backup = await compute.openBackup();
    try {
      await this.#makePoint(volumeId, backup);
    } finally {
      await backup.close();
    }
  }

  /** Right after a checkpoint a point has the least to replay, so the next one is waited for, but not for ever. */
  async #isGoodMoment({ volumeId, dataPath }: RunningCompute, isOverdue: boolean): Promise<boolean> {
    const kept = this.#keptOf(volumeId);
    const { redo } = (await readControlFile(dataPath)).control;
    const isCheckpointNew = kept.redo !== undefined && redo !== kept.redo;
    kept.redo = isCheckpointNew || isOverdue ? undefined : redo;
    return isCheckpointNew || isOverdue;
  }

  async #pointBytes(volumeId: string): Promise<number> {
    if (this.#volumes.backend.capabilities.cowClone) return POINT_BYTES;
    const { logicalBytes } = await this.#volumes.usage(volumeId);
    return Math.max(POINT_BYTES, logicalBytes);
  }

  async #makePoint(volumeId: string, backup: BackupSession | undefined): Promise<void> {
    const from = performance.now();
    await this.#volumes.makeRestorePoint(volumeId, backup);
    this.#log.debug({ volumeId, ms: Math.round(performance.now() - from) }, 'restore point made');
  }

  async #afterOthers(volumeId: string, work: () => Promise<void>): Promise<void> {
    while (this.#kept.get(volumeId)?.work) await this.#kept.get(volumeId)?.work;
    await this.#run(volumeId, work);
    // The volume sleeps, unless the next compute has been looked at already.
    if (!this.#kept.get(volumeId)?.work) this.#kept.delete(volumeId);
  }

  async #run(volumeId: string, work: () => Promise<void>): Promise<void> {
    const kept = this.#keptOf(volumeId);
    kept.work = this.#attempt(volumeId, kept, work).finally(() => (kept.work = undefined));
    await kept.work;
  }

  async #attempt(volumeId: string, kept: Kept, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      kept.failure = undefined;
    } catch (error) {
      const failure = messageOf(error);
      if (failure !== kept.failure) this.#log.error({ volumeId, error: failure }, 'history not kept');
      kept.failure = failure;
    }
  }

  #keptOf(volumeId: string): Kept {
    const present = this.#kept.get(volumeId);
    if (present) return present;
    const kept: Kept = { work: undefined, redo: undefined, failure: undefined };
    this.#kept.set(volumeId, kept);
    return kept;
  }
}
