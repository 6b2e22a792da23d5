import type { EndpointId, ProjectId } from '@tenantry/contract/ids.ts';
import type { EngineStore } from '../engines/engine.ts';
import { isNoSpace, PlatformError } from '../kernel/errors.ts';
import { withDeadline } from '../kernel/wait.ts';
import { formatTimeUs, parseTimeUs } from '../storage/history/time-us.ts';
import type {
  BackupSession,
  DeleteVolumeOptions,
  FileOwner,
  Moment as StoredMoment,
  MomentRequest as StoredMomentRequest,
  VolumeStore,
} from '../storage/volume-store.ts';
import type { Capacity } from '../wal/control-file.ts';
import { Turns } from '../storage/turns.ts';
import { formatLsn, parseLsn } from '../wal/lsn.ts';
import type { AwakeSlots } from './awake-slots.ts';
import type { HistoryKeeper } from './history-keeper.ts';
import type {
  BranchVolume,
  CreateReplicaVolume,
  CreateVolume,
  EndpointSpec,
  Moment,
  MomentRequest,
  VolumeHistory,
  VolumeId,
  VolumeUsage,
} from './host.ts';
import type { Pruner } from './pruner.ts';
import type { StrayComputes } from './stray-computes.ts';

export interface HostVolumesDeps {
  readonly volumes: VolumeStore;
  readonly engines: EngineStore;
  readonly history: HistoryKeeper;
  readonly pruner: Pruner;
  readonly slots: AwakeSlots;
  readonly strays: StrayComputes;
  readonly ownerOf: (projectId: ProjectId) => Promise<FileOwner | null>;
  /** As `Endpoint.openBackup`. */
  readonly openBackup: (endpointId: EndpointId, volumeId: VolumeId) => Promise<BackupSession | undefined>;
}

/** A start with a long replay may have to end before its volume can be cloned. */
const BACKUP_MS = 600_000;
const DELETE_MS = 600_000;
/** A compute may end while its backup is taken; then the volume stands still, or the next compute has it. */
const BRANCH_TRIES = 3;
/** It takes a core while it lasts, and is never urgent. */
const ARCHIVE_TURN = 'archive';

/** The part of `Host` that is about volumes: texts to values and back, and what a running compute has to do for them. */
export class HostVolumes {
  readonly #deps: HostVolumesDeps;
  /** Branches that are being made, by their source. */
  readonly #turns = new Turns();
  readonly #branching = new Map<VolumeId, Set<Promise<unknown>>>();

  constructor(deps: HostVolumesDeps) {
    this.#deps = deps;
  }

  async create({ volumeId, projectId, pgVersion, historyRetentionSeconds }: CreateVolume): Promise<void> {
    const { engines, volumes, ownerOf } = this.#deps;
    const engine = await engines.get(pgVersion);
    const owner = await ownerOf(projectId);
    await orNoSpace(async () => await volumes.create({ volumeId, engine, owner, historyRetentionSeconds }));
  }

  async branch(request: BranchVolume): Promise<Moment> {
    const at = parseMomentRequest(request.at);
    const { volumeId, projectId, source, historyRetentionSeconds } = request;
    const owner = await this.#deps.ownerOf(projectId);
    const options = { volumeId, sourceId: source, at, owner, historyRetentionSeconds };
    return formatMoment(
      await this.#cloneOf(source, async (backup) => await this.#deps.volumes.branch({ ...options, backup })),
    );
  }

  /**
   * Before a read replica starts. @returns what its Postgres needs room for
   * @throws PlatformError COMPUTE_START_FAILED if control has not said of which volume it is a replica
   */
  async readyReplica({ volumeId, projectId, primaryVolumeId: source }: EndpointSpec): Promise<Capacity> {
    if (source !== undefined) return await this.ensureReplica({ volumeId, projectId, source });
    throw new PlatformError('COMPUTE_START_FAILED', 'Cannot start the read replica: its branch is not known here yet');
  }

  /** As `Host.createReplicaVolume`. @returns what its Postgres needs room for */
  async ensureReplica({ volumeId, projectId, source }: CreateReplicaVolume): Promise<Capacity> {
    const owner = await this.#deps.ownerOf(projectId);
    const options = { volumeId, primaryId: source, owner };
    return await this.#cloneOf(
      source,
      async (backup) => await this.#deps.volumes.ensureReplica({ ...options, backup }),
    );
  }

  /** One at a time. A start of a compute on the volume ends it. @throws PlatformError CONFLICT if a compute uses it */
  async archive(volumeId: VolumeId): Promise<boolean> {
    const { volumes, history, strays } = this.#deps;
    return await this.#turns.take(ARCHIVE_TURN, async () => {
      this.#assertUnused(volumeId, 'archive');
      await withDeadline('archive the volume while it is in use', DELETE_MS, async () => {
        await strays.gone(volumeId);
        await history.settled(volumeId);
      });
      this.#assertUnused(volumeId, 'archive');
      return await volumes.archiveVolume(volumeId);
    });
  }

  /**
   * Waits for what is being made of the volume.
   * @param options `isForGood`: calls to make it that come late, or are on their way, make nothing
   * @throws PlatformError CONFLICT if a compute uses it
   */
  async delete(volumeId: VolumeId, options?: DeleteVolumeOptions): Promise<void> {
    const { volumes, history, strays } = this.#deps;
    this.#assertUnused(volumeId, 'delete');
    await withDeadline('delete the volume while it is in use', DELETE_MS, async () => {
      await strays.gone(volumeId);
      await Promise.allSettled(this.#branching.get(volumeId) ?? new Set<Promise<unknown>>());
      await history.settled(volumeId);
    });
    this.#assertUnused(volumeId, 'delete');
    await volumes.delete(volumeId, options);
  }

  async usage(volumeId: VolumeId): Promise<VolumeUsage> {
    return await this.#deps.volumes.usage(volumeId);
  }

  async history(volumeId: VolumeId): Promise<VolumeHistory> {
    const { oldest, newest, bytes } = await this.#deps.volumes.history(volumeId);
    return { oldest: formatMoment(oldest), newest: formatMoment(newest), bytes };
  }

  async findMoment(volumeId: VolumeId, at: MomentRequest): Promise<Moment> {
    return formatMoment(await this.#deps.volumes.findMoment(volumeId, parseMomentRequest(at)));
  }

  async setHistoryRetention(volumeId: VolumeId, seconds: number): Promise<void> {
    await this.#deps.volumes.setHistoryRetention(volumeId, seconds);
    this.#deps.pruner.run();
  }

  /** Its source cannot be deleted until it is made. */
  async #cloneOf<T>(source: VolumeId, make: (backup: BackupSession | undefined) => Promise<T>): Promise<T> {
    const cloning = this.#tryClone(source, make);
    const others = this.#branching.get(source) ?? new Set();
    this.#branching.set(source, others.add(cloning));
    try {
      return await cloning;
    } finally {
      others.delete(cloning);
      if (others.size === 0) this.#branching.delete(source);
    }
  }

  async #tryClone<T>(source: VolumeId, make: (backup: BackupSession | undefined) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const backup = await this.#openBackup(source);
      try {
        return await orNoSpace(async () => await make(backup));
      } catch (error) {
        if (error instanceof PlatformError || attempt === BRANCH_TRIES) throw error;
      } finally {
        await backup?.close();
      }
    }
  }

  async #openBackup(volumeId: VolumeId): Promise<BackupSession | undefined> {
    if (this.#deps.volumes.backend.capabilities.atomicLiveSnapshot) return undefined;
    const { slots, strays, openBackup } = this.#deps;
    const open = async (): Promise<BackupSession | undefined> => {
      await strays.gone(volumeId);
      const holder = slots.holderOf(volumeId);
      return holder && (await openBackup(holder, volumeId));
    };
    return await withDeadline('branch the volume while its compute starts', BACKUP_MS, open);
  }

  #assertUnused(volumeId: VolumeId, what: 'archive' | 'delete'): void {
    if (!this.#deps.slots.holderOf(volumeId)) return;
    throw new PlatformError('CONFLICT', `Cannot ${what} the volume: a compute uses it`);
  }
}

async function orNoSpace<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw isNoSpace(error) && !(error instanceof PlatformError)
      ? new PlatformError('NO_SPACE', 'Cannot make the volume: the disk is full', { cause: error })
      : error;
  }
}

/** @throws PlatformError INVALID_REQUEST */
function parseMomentRequest(at: MomentRequest): StoredMomentRequest {
  if (at.kind === 'head') return at;
  if (at.kind === 'lsn') {
    const lsn = parseLsn(at.lsn);
    if (lsn === undefined) throw new PlatformError('INVALID_REQUEST', 'Cannot find the moment: malformed LSN');
    return { kind: 'lsn', lsn };
  }
  const timeUs = parseTimeUs(at.time);
  if (timeUs === undefined) throw new PlatformError('INVALID_REQUEST', 'Cannot find the moment: malformed time');
  return { kind: 'time', timeUs };
}

const formatMoment = ({ lsn, timeUs }: StoredMoment): Moment => ({ lsn: formatLsn(lsn), time: formatTimeUs(timeUs) });
