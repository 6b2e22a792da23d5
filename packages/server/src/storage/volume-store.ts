import type { Engine } from '../engines/engine.ts';
import type { Capacity } from '../wal/control-file.ts';
import type { Lsn } from '../wal/lsn.ts';
import type { TimeUs } from './history/time-us.ts';

/** Owner of the files of a volume; null without root: the user that runs Tenantry. */
export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

/** A Postgres data directory, its WAL beside it on the host's own filesystem (`pg_wal` is a link). */
export interface Volume {
  readonly volumeId: string;
  readonly pgVersion: number;
  readonly owner: FileOwner | null;
  readonly dataPath: string;
  readonly walPath: string;
  /** A clone whose WAL has not been replayed yet: the first start promotes it (`compute/` says how). */
  readonly needsPromotion: boolean;
  /** Kept compressed: nothing is at its paths until `claim` or `bringBack`. */
  readonly isArchived?: true;
  /** Of a read replica: the volume whose WAL it replays, always as a standby. It has no history of its own. */
  readonly replicaOf: string | null;
}

export interface CreateVolumeOptions {
  readonly volumeId: string;
  readonly engine: Engine;
  readonly owner: FileOwner | null;
  readonly historyRetentionSeconds: number;
}

export interface BranchVolumeOptions {
  readonly volumeId: string;
  readonly sourceId: string;
  readonly at: MomentRequest;
  readonly owner: FileOwner | null;
  readonly historyRetentionSeconds: number;
  /** Needed where a clone of a volume in use is not one moment: of the running compute. Undefined: nothing runs. */
  readonly backup: BackupSession | undefined;
}

export interface DeleteVolumeOptions {
  /** None of this id may be made any more: `create`, `branch` and `ensureReplica` throw CONFLICT. */
  readonly isForGood?: boolean;
}

export interface ReplicaOptions {
  readonly volumeId: string;
  readonly primaryId: string;
  readonly owner: FileOwner | null;
  /** As in `BranchVolumeOptions`, of the primary's compute. */
  readonly backup: BackupSession | undefined;
}

/** What a replica's look at its primary gives. */
export type ReplicaLook =
  | {
      readonly kind: 'following';
      /** Of the primary's WAL. */
      readonly end: Lsn;
      /** What the primary last started with. */
      readonly capacity: Capacity;
    }
  /** WAL that the replica needs is not there any more: only a new clone helps. */
  | { readonly kind: 'lost' };

/** Postgres' low-level backup API on one open session of the running compute. */
export interface BackupSession {
  /** `pg_backup_start` with a fast checkpoint. */
  start(label: string): Promise<void>;
  /** `pg_backup_stop` without waiting for an archive: the text of `backup_label`, and the LSN of the backup's end. */
  stop(): Promise<{ readonly label: string; readonly lsn: Lsn }>;
  /** Ends the session; a backup that was not stopped is given up. */
  close(): Promise<void>;
}

export type MomentRequest =
  | { readonly kind: 'head' }
  | { readonly kind: 'lsn'; readonly lsn: Lsn }
  | { readonly kind: 'time'; readonly timeUs: TimeUs };

/** Everything in WAL records that end at or before `lsn`. */
export interface Moment {
  readonly lsn: Lsn;
  /** A time at which the volume was so. */
  readonly timeUs: TimeUs;
}

export interface VolumeHistory {
  readonly oldest: Moment;
  readonly newest: Moment;
  readonly bytes: number;
}

export interface VolumeUsage {
  /** The size of all databases' files. */
  readonly logicalBytes: number;
  /** Bytes on disk that only this volume owns, WAL included. */
  readonly exclusiveBytes: number;
  /** Bytes on disk in common with templates, restore points and other volumes; null where that cannot be told. */
  readonly sharedBytes: number | null;
}

/** The volumes of one machine. A volume exists whole or not at all, whenever the process dies. */
export interface VolumeStore {
  readonly backend: StorageBackendInfo;
  /** Makes the engine's template ahead of its first use. */
  prepare(engine: Engine): Promise<void>;
  /** Clones the engine's template (made on first use). Returns the present volume if there is one of this id. */
  create(options: CreateVolumeOptions): Promise<Volume>;
  /**
   * Makes a volume that is another as it was at a moment. Returns the present volume's moment if there is one of this id.
   * Until its first start has replayed its WAL, `needsPromotion` says so of it.
   * @throws PlatformError NOT_FOUND, MOMENT_OUT_OF_HISTORY, NO_SPACE
   */
  branch(options: BranchVolumeOptions): Promise<Moment>;
  /**
   * Makes a read replica of a volume, or gets the present one ready to start where it left off; one that no longer can
   * is made anew. Nothing while a compute has it. Returns what its Postgres needs room for.
   * @throws PlatformError NOT_FOUND, MOMENT_OUT_OF_HISTORY, NO_SPACE
   */
  ensureReplica(options: ReplicaOptions): Promise<Capacity>;
  /** Links WAL that its primary has written into the WAL directory of a replica, where its standby finds it. */
  follow(volumeId: string): Promise<ReplicaLook>;
  /** What `branch` would answer now. @throws PlatformError NOT_FOUND, MOMENT_OUT_OF_HISTORY */
  findMoment(volumeId: string, at: MomentRequest): Promise<Moment>;
  /** @throws PlatformError NOT_FOUND */
  history(volumeId: string): Promise<VolumeHistory>;
  setHistoryRetention(volumeId: string, seconds: number): Promise<void>;
  /**
   * Waits until nothing clones the volume that needs it to stand still. The caller starts Postgres on it only then, and
   * says `released` once that has ended (before: no clone that needs a still volume begins).
   */
  claim(volumeId: string): Promise<Volume | undefined>;
  released(volumeId: string): void;
  /**
   * Links WAL segments that are not in the history yet into it. Cheap where nothing is new (one `stat`): called at every
   * look at a running compute, and after its end. `walSincePoint`: bytes of WAL since the newest restore point.
   */
  archive(volumeId: string): Promise<{ readonly walSincePoint: number }>;
  /** Makes a restore point of the volume as it is. `backup` as in `BranchVolumeOptions`. */
  makeRestorePoint(volumeId: string, backup: BackupSession | undefined): Promise<void>;
  /** Has the storage take more of the disk before it runs out of room. Cheap: called every second. */
  keepRoom(): Promise<void>;
  /** Drops history that is older than its retention, and WAL that a stopped volume needs no more. */
  prune(): Promise<void>;
  /**
   * Makes a volume that nobody uses a compressed archive, if its history holds nothing but its head and the archive takes
   * less than it gives back. Gives up when a claim comes. True also if it is archived already.
   * @throws PlatformError NOT_FOUND, NO_SPACE
   */
  archiveVolume(volumeId: string): Promise<boolean>;
  /**
   * Makes an archived volume what it was; nothing if it is not archived. `claim`, `branch`, `ensureReplica` and
   * `findMoment` do so by themselves.
   * @throws PlatformError NO_SPACE: it stays archived
   */
  bringBack(volumeId: string): Promise<void>;
  /** Ids of all archived volumes. */
  listArchived(): Promise<readonly string[]>;
  find(volumeId: string): Promise<Volume | undefined>;
  list(): Promise<readonly Volume[]>;
  /** Idempotent. */
  delete(volumeId: string, options?: DeleteVolumeOptions): Promise<void>;
  /** @throws PlatformError NOT_FOUND */
  usage(volumeId: string): Promise<VolumeUsage>;
  /** Removes what a crash left half made. Called once at start, before any other call. */
  recover(): Promise<void>;
}

export interface StorageBackendInfo {
  readonly name: 'btrfs' | 'reflink' | 'zfs' | 'copy';
  readonly location: string;
  readonly capabilities: {
    readonly atomicLiveSnapshot: boolean;
    readonly cowClone: boolean;
    readonly crossHostClone: boolean;
    readonly maxCloneDepth: number | null;
    readonly childrenPinParent: boolean;
  };
  /** What would make it better, for `tenantry doctor`; null if nothing. */
  readonly advice: string | null;
}
