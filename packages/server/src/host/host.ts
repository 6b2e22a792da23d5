import type { BranchId, EndpointId, ProjectId } from '@tenantry/contract/ids.ts';

/**
 * One machine's volumes and computes. This is all that the rest of Tenantry knows of a machine: no path, pid or
 * filesystem command passes it. Every call is idempotent by the ids that the caller gives, so a caller that lost the
 * answer repeats the call. Failures are `PlatformError`s.
 *
 * Implemented by `LocalHost` (this machine) and `HostClient` (the same over a socket).
 */
export interface Host {
  /** @param signal ends the wait for a host that does not answer */
  info(signal?: AbortSignal): Promise<HostInfo>;

  /** Makes the volume of a branch from the template of its Postgres version. A volume of this id is left as it is. */
  createVolume(request: CreateVolume): Promise<void>;
  /**
   * Makes a volume that is `source` as it was at a moment: a clone of a restore point, and the WAL up to the moment,
   * which is replayed at the first start of a compute on it. The source may sleep, run, or never have run. A volume of
   * this id is left as it is, and its moment answered again.
   * @throws PlatformError NOT_FOUND (no such source), MOMENT_OUT_OF_HISTORY, NO_SPACE
   */
  branchVolume(request: BranchVolume): Promise<Moment>;
  /**
   * Makes the volume of a read-only endpoint: a clone of `source` as it is now, which stays its standby. One that is there
   * is brought up to date, or made anew where it no longer can be. @throws as `branchVolume`
   */
  createReplicaVolume(request: CreateReplicaVolume): Promise<void>;
  /**
   * Makes a volume with the roles, databases and schemas of `source` at a moment and none of its rows; its history begins
   * then. A volume of this id is left as it is. @throws as `branchVolume`
   */
  createSchemaOnlyVolume(request: BranchVolume): Promise<void>;
  /**
   * The schema of a database of the volume at a moment, as SQL that pg_dump writes, without rows, comments and secrets.
   * @throws PlatformError NOT_FOUND (no such volume or database), MOMENT_OUT_OF_HISTORY, NO_SPACE
   */
  dumpSchema(request: DumpSchema): Promise<string>;
  /**
   * Keeps a volume compressed from now on, if its history holds nothing but its head and that saves space. False: it is
   * left as it is. What needs it brings it back: `acquire`, `branchVolume`, `findMoment`, `dumpSchema`.
   * @throws PlatformError NOT_FOUND, NO_SPACE, CONFLICT if a compute uses it
   */
  archiveVolume(volumeId: VolumeId): Promise<{ readonly archived: boolean }>;
  /** Makes an archived volume what it was. Nothing if it is not archived. @throws PlatformError NO_SPACE */
  unarchiveVolume(volumeId: VolumeId): Promise<void>;
  /** All that are archived now. */
  archivedVolumes(): Promise<readonly VolumeId[]>;
  /**
   * Deletes a volume, its history, and all that it alone owns. The endpoints on it must be removed first. Ids are not used
   * again: a call to make this volume that comes later, or has not got to it yet, is refused with CONFLICT. Such a call may
   * outlive the operation that sent it.
   */
  deleteVolume(volumeId: VolumeId): Promise<void>;
  volumeUsage(volumeId: VolumeId): Promise<VolumeUsage>;
  /** The moments that a volume can be branched or restored at. @throws PlatformError NOT_FOUND */
  volumeHistory(volumeId: VolumeId): Promise<VolumeHistory>;
  /**
   * The moment that a request means, without making anything: what `branchVolume` would answer now.
   * @throws PlatformError NOT_FOUND, MOMENT_OUT_OF_HISTORY
   */
  findMoment(volumeId: VolumeId, at: MomentRequest): Promise<Moment>;
  storageSpace(): Promise<StorageSpace>;
  /**
   * Grows the pool that volumes live in, and says how large it may grow from now on (null: as its disk allows).
   * @throws PlatformError INVALID_REQUEST if there is no pool, or if it is larger already
   */
  growStorage(bytesMax: number | null): Promise<StorageSpace>;

  /** How far back a volume's history reaches from now on. */
  setHistoryRetention(volumeId: VolumeId, seconds: number): Promise<void>;

  /**
   * Stores the desired state of an endpoint on the host's own disk and brings a running compute to it: settings that
   * can be reloaded are, others restart it, `disabled` suspends it, pending catalog changes are applied at once if it
   * runs and else at its next start. A generation lower than the stored one is ignored. Another volume than before
   * (a restore) ends the compute on the old one first; clients that come meanwhile wait for the start on the new one.
   */
  applySpec(spec: EndpointSpec): Promise<void>;
  /**
   * Stops the compute and forgets the endpoint. Usage that is not acknowledged stays in its last report, state `idle`.
   * @param volumesToGo volumes that are deleted next: on one of these the stop saves itself the checkpoint
   */
  removeEndpoint(endpointId: EndpointId, volumesToGo?: readonly VolumeId[]): Promise<void>;

  /**
   * The address of the endpoint's compute, started if need be: resolves once the compute accepts connections.
   * Single flight: any number of callers share one start. A caller that comes while the compute is suspending waits
   * for the stop and gets the next start.
   * @throws PlatformError NOT_FOUND, ENDPOINT_DISABLED, ACTIVE_ENDPOINTS_LIMIT_EXCEEDED, COMPUTE_START_FAILED, DEADLINE_EXCEEDED
   */
  acquire(endpointId: EndpointId, signal?: AbortSignal): Promise<ComputeAddress>;
  suspend(endpointId: EndpointId): Promise<void>;
  /** Stops and starts a running compute. @throws PlatformError CONFLICT if it does not run. */
  restart(endpointId: EndpointId): Promise<void>;

  /**
   * Starts the compute if need be and applies the spec's pending catalog changes up to and including `seq`.
   * @throws PlatformError CATALOG_CHANGE_REFUSED with Postgres' message (details: `sqlstate`) if a change is refused
   */
  applyCatalog(endpointId: EndpointId, seq: number): Promise<void>;
  /** The SCRAM verifier of a role as the *running* compute has it; undefined if it sleeps or has no such role. */
  findRoleVerifier(endpointId: EndpointId, role: string, signal?: AbortSignal): Promise<string | undefined>;

  /**
   * What the host sees, level and not edge: first the present report of every endpoint whose `version` is above
   * `sinceVersion`, then each new one as it comes, until the signal aborts. Usage runs stay in a report until acknowledged.
   */
  reports(sinceVersion: number, signal: AbortSignal): AsyncIterable<EndpointReport>;
  /** Control has stored these runs; ended ones leave the reports. */
  acknowledgeRuns(computeIds: readonly string[]): Promise<void>;
}

/** Opaque outside host/, compute/ and storage/. Control derives it from the branch. */
export type VolumeId = string;

export interface CreateVolume {
  readonly volumeId: VolumeId;
  readonly projectId: ProjectId;
  readonly pgVersion: number;
  readonly historyRetentionSeconds: number;
}

export interface BranchVolume {
  readonly volumeId: VolumeId;
  readonly projectId: ProjectId;
  readonly source: VolumeId;
  readonly at: MomentRequest;
  readonly historyRetentionSeconds: number;
}

export interface CreateReplicaVolume {
  readonly volumeId: VolumeId;
  readonly projectId: ProjectId;
  readonly source: VolumeId;
}

export interface DumpSchema {
  readonly volumeId: VolumeId;
  readonly projectId: ProjectId;
  readonly at: MomentRequest;
  readonly database: string;
}

/** `head`: all that is committed when the call comes. LSN as Postgres writes it (`0/16B3748`); time in RFC 3339. */
export type MomentRequest =
  | { readonly kind: 'head' }
  | { readonly kind: 'lsn'; readonly lsn: string }
  | { readonly kind: 'time'; readonly time: string };

/**
 * A moment of a volume: everything in WAL records that end at or before `lsn`, and nothing else. `time` is one at which
 * the volume was so (RFC 3339, microseconds).
 */
export interface Moment {
  readonly lsn: string;
  readonly time: string;
}

export interface VolumeHistory {
  readonly oldest: Moment;
  readonly newest: Moment;
  /** Bytes on disk that history takes beside the volume itself: WAL, and what only restore points own. */
  readonly bytes: number;
}

export interface VolumeUsage {
  /** Bytes that tenants see: the size of all databases' files. */
  readonly logicalBytes: number;
  /** Bytes on disk that only this volume owns, WAL included. */
  readonly exclusiveBytes: number;
  /** Bytes on disk in common with other volumes, templates and restore points; null where that cannot be told. */
  readonly sharedBytes: number | null;
}

/** How much room volumes have, in bytes. */
export interface StorageSpace {
  /** Of the filesystem that volumes live on: the pool's, if there is one. */
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** What is free on the host's own filesystem, where WAL, history and the pool's image live. */
  readonly diskFreeBytes: number;
  /** Less than the reserve is free there: nothing new is made. */
  readonly isDiskFull: boolean;
  readonly pool: {
    readonly filesystem: string;
    readonly imagePath: string;
    /** What the image takes of the disk. */
    readonly allocatedBytes: number;
    /** How large it may grow; null: as the disk allows. */
    readonly bytesMax: number | null;
  } | null;
}

/** The full desired state of an endpoint. Sent whole each time; kept on the host's disk. */
export interface EndpointSpec {
  readonly endpointId: EndpointId;
  readonly branchId: BranchId;
  readonly projectId: ProjectId;
  readonly volumeId: VolumeId;
  /** Grows with every change of this spec. */
  readonly generation: number;
  readonly pgVersion: number;
  readonly type: 'read_write' | 'read_only';
  /** Only of a `read_only` one: the volume that its own is a standby of. */
  readonly primaryVolumeId?: VolumeId;
  readonly minCu: number;
  readonly maxCu: number;
  readonly disabled: boolean;
  /** Its branch is deleted and may yet be recovered; then it is `disabled` too. */
  readonly branchDeleted: boolean;
  /** Already resolved: seconds, or -1 for never. */
  readonly suspendTimeoutSeconds: number;
  /** Extra postgresql.conf settings of the endpoint (`settings.pg_settings`). */
  readonly pgSettings: Readonly<Record<string, string>>;
  /** Pending changes in the order of `seq`. Control drops those that a report shows as applied, or that were refused. */
  readonly catalogChanges: readonly CatalogChange[];
}

/** A change to roles or databases that the API ordered. Applying one twice is harmless. */
export type CatalogChange = { readonly seq: number } & (
  | { readonly kind: 'put_role'; readonly name: string; readonly verifier: string }
  /** As put_role, if there is such a role; else nothing. */
  | { readonly kind: 'keep_role'; readonly name: string; readonly verifier: string }
  | { readonly kind: 'rename_role'; readonly name: string; readonly newName: string }
  | { readonly kind: 'drop_role'; readonly name: string }
  | { readonly kind: 'create_database'; readonly name: string; readonly owner: string }
  | { readonly kind: 'update_database'; readonly name: string; readonly newName: string; readonly owner: string }
  | { readonly kind: 'drop_database'; readonly name: string }
);

export type ComputeAddress = { readonly computeId: string } & (
  | { readonly kind: 'unix'; readonly socketPath: string }
  | { readonly kind: 'tcp'; readonly hostname: string; readonly port: number }
);

/** States of a compute as seen from outside; the full machine is `compute/state.ts`. */
export type ComputeState = 'idle' | 'starting' | 'active' | 'suspending' | 'failed';

export interface EndpointReport {
  readonly endpointId: EndpointId;
  /** Grows with every report of the host. */
  readonly version: number;
  readonly generation: number;
  readonly state: ComputeState;
  /** RFC 3339 times; null where it never happened. */
  readonly startedAt: string | null;
  readonly suspendedAt: string | null;
  readonly lastActiveAt: string | null;
  /** Why the last start failed, for people. */
  readonly failure: string | null;
  /** All catalog changes up to this one are applied (0: none). */
  readonly catalogAppliedSeq: number;
  /** Roles and databases as last seen in the compute, with those made by SQL. Null until first seen. */
  readonly catalog: SeenCatalog | null;
  readonly logicalBytes: number | null;
  /** Bytes of WAL that an awake read replica has still to replay; null of any other endpoint, and until it is seen. */
  readonly replicaLagBytes: number | null;
  readonly runs: readonly ComputeRun[];
}

export interface SeenCatalog {
  /** Roles that may log in. `verifier` is null where the role has no SCRAM password. */
  readonly roles: readonly { readonly name: string; readonly verifier: string | null }[];
  readonly databases: readonly { readonly name: string; readonly owner: string }[];
}

/** Usage: one life of a compute. Idempotent by `computeId`; `until` grows while it runs. */
export interface ComputeRun {
  readonly computeId: string;
  readonly cu: number;
  readonly startedAt: string;
  readonly until: string;
  readonly ended: boolean;
}

export interface HostInfo {
  readonly hostId: string;
  readonly engines: readonly {
    readonly pgVersion: number;
    readonly fullVersion: string;
    readonly source: 'npm' | 'system';
  }[];
  readonly storage: {
    readonly backend: string;
    /** Where volumes live, for people. */
    readonly location: string;
    readonly capabilities: StorageCapabilities;
    /** What would make it better, or null. */
    readonly advice: string | null;
  };
  readonly isolation: {
    readonly osUsers: boolean;
    readonly cgroups: 'v1' | 'v2' | 'none';
    readonly advice: string | null;
  };
  readonly computesAwake: number;
  readonly computesAwakeMax: number;
}

export interface StorageCapabilities {
  /** A clone of a volume that is being written is what a power cut at that moment would have left. */
  readonly atomicLiveSnapshot: boolean;
  /** A clone shares blocks with its source. */
  readonly cowClone: boolean;
  readonly crossHostClone: boolean;
  /** Null: no bound. */
  readonly maxCloneDepth: number | null;
  /** A source cannot be deleted before its clones. */
  readonly childrenPinParent: boolean;
}
