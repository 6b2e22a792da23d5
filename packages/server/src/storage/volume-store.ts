import type { Engine } from '../engines/engine.ts';

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
}

export interface CreateVolumeOptions {
  readonly volumeId: string;
  readonly engine: Engine;
  readonly owner: FileOwner | null;
}

/** The volumes of one machine. A volume exists whole or not at all, whenever the process dies. */
export interface VolumeStore {
  readonly backend: StorageBackendInfo;
  /** Makes the engine's template ahead of its first use. */
  prepare(engine: Engine): Promise<void>;
  /** Clones the engine's template (made on first use). Returns the present volume if there is one of this id. */
  create(options: CreateVolumeOptions): Promise<Volume>;
  find(volumeId: string): Promise<Volume | undefined>;
  list(): Promise<readonly Volume[]>;
  /** Idempotent. */
  delete(volumeId: string): Promise<void>;
  usage(volumeId: string): Promise<{ readonly logicalBytes: number; readonly exclusiveBytes: number }>;
  /** Removes what a crash left half made. Called once at start, before any other call. */
  recover(): Promise<void>;
}

export interface StorageBackendInfo {
  readonly name: 'btrfs' | 'reflink' | 'copy';
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
