import type { BranchId, EndpointId, OrganizationId, ProjectId, SnapshotId } from '@tenantry/contract/ids.ts';
import type { Secret } from '../kernel/secret.ts';

/**
 * The domain as the API sees it: one object of commands and reads per noun. `createPlatform` (create-platform.ts)
 * assembles it from the folders of the nouns. Every call checks that the principal may see the object and throws
 * NOT_FOUND where it may not, so that ids of others cannot be probed.
 *
 * Commands write their rows, operations and events in one transaction, start the operations at once, and wait a short
 * while (`answerWaitMs`) for them to end, so that clients rarely have to poll. What they give back shows the state
 * after that wait. A command whose operation failed within the wait throws that failure.
 */
export interface Platform {
  readonly projects: Projects;
  readonly branches: Branches;
  readonly snapshots: Snapshots;
  readonly endpoints: Endpoints;
  readonly roles: Roles;
  readonly databases: Databases;
  readonly operations: Operations;
  readonly apiKeys: ApiKeys;
  readonly accounts: Accounts;
}

/** Who asks. Made by `accounts.authenticate`. */
export type Principal = {
  readonly apiKeyId: number;
  readonly userId: string;
  /** Organizations whose projects the key may see and change. */
  readonly organizationIds: readonly OrganizationId[];
} & (
  | { readonly kind: 'user' }
  | { readonly kind: 'organization' }
  | { readonly kind: 'project'; readonly projectId: ProjectId }
);

export interface Page<T> {
  readonly items: readonly T[];
  /** Opaque; absent on the last page. */
  readonly nextCursor?: string;
}

export interface PageRequest {
  readonly limit: number;
  readonly cursor?: string;
}

/** As in the API (snake_case there); undefined means "leave as it is" or "take the default". */
export interface ProjectSettings {
  readonly quota?: {
    readonly activeTimeSeconds?: number;
    readonly computeTimeSeconds?: number;
    readonly writtenDataBytes?: number;
    readonly dataTransferBytes?: number;
    readonly logicalSizeBytes?: number;
  };
  readonly allowedIps?: { readonly ips?: readonly string[]; readonly protectedBranchesOnly?: boolean };
  readonly enableLogicalReplication?: boolean;
  readonly blockPublicConnections?: boolean;
  readonly blockVpcConnections?: boolean;
  readonly hipaa?: boolean;
  readonly maintenanceWindow?: {
    readonly weekdays: readonly number[];
    readonly startTime: string;
    readonly endTime: string;
  };
}

export interface DefaultEndpointSettings {
  readonly autoscalingLimitMinCu?: number;
  readonly autoscalingLimitMaxCu?: number;
  /** 0: the default (300), -1: never. */
  readonly suspendTimeoutSeconds?: number;
  readonly pgSettings?: Readonly<Record<string, string>>;
}

export interface Project {
  readonly id: ProjectId;
  readonly organizationId: OrganizationId;
  readonly name: string;
  readonly regionId: string;
  readonly pgVersion: number;
  readonly settings: ProjectSettings;
  readonly defaultEndpointSettings: DefaultEndpointSettings;
  readonly historyRetentionSeconds: number;
  readonly storePasswords: boolean;
  readonly creatorUserId: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly computeLastActiveAt: Date | null;
  readonly usage: ProjectUsage;
}

/** Of the present billing period (calendar month, UTC), but for the logical size. */
export interface ProjectUsage {
  readonly periodStart: Date;
  readonly periodEnd: Date;
  readonly activeTimeSeconds: number;
  readonly computeTimeSeconds: number;
  readonly cpuUsedSeconds: number;
  readonly writtenDataBytes: number;
  readonly dataTransferBytes: number;
  readonly dataStorageBytesHour: number;
  readonly logicalBytes: number;
}

export interface Branch {
  readonly id: BranchId;
  readonly projectId: ProjectId;
  readonly parentId: BranchId | null;
  readonly name: string;
  readonly state: 'init' | 'ready' | 'archived' | 'resetting';
  readonly pendingState: 'ready' | 'archived' | 'storage_deleted' | null;
  readonly stateChangedAt: Date;
  readonly isDefault: boolean;
  readonly isProtected: boolean;
  readonly logicalBytes: number | null;
  readonly initSource: 'parent-data' | 'schema-only';
  /** The moment of the parent that it began at; null for a root branch, and until its volume is made. */
  readonly parentLsn: string | null;
  readonly parentTimestamp: Date | null;
  readonly expiresAt: Date | null;
  readonly ttlSeconds: number | null;
  readonly lastResetAt: Date | null;
  readonly restoredFrom: SnapshotId | null;
  readonly restoredAs: BranchId | null;
  readonly restoreStatus: 'restored' | 'finalized' | 'detaching' | null;
  /** Deleted, and to be recovered until `recoverableUntil`. */
  readonly deletedAt: Date | null;
  readonly recoverableUntil: Date | null;
  readonly annotations: Readonly<Record<string, string>>;
  readonly createdByName: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly usage: ProjectUsage;
}

export interface Endpoint {
  readonly id: EndpointId;
  readonly branchId: BranchId;
  readonly projectId: ProjectId;
  readonly name: string | null;
  readonly type: 'read_write' | 'read_only';
  /** `ep-x.db.example.com`, or `localhost` where names below it do not resolve. */
  readonly hostname: string;
  readonly regionId: string;
  readonly minCu: number;
  readonly maxCu: number;
  /** As the client gave it: 0 default, -1 never. */
  readonly suspendTimeoutSeconds: number;
  readonly disabled: boolean;
  readonly poolerEnabled: boolean;
  readonly pgSettings: Readonly<Record<string, string>>;
  readonly state: 'init' | 'active' | 'idle';
  readonly pendingState: 'active' | 'idle' | null;
  readonly computeReleaseVersion: string | null;
  readonly creationSource: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly startedAt: Date | null;
  readonly suspendedAt: Date | null;
  readonly lastActiveAt: Date | null;
}

export interface Role {
  readonly branchId: BranchId;
  readonly name: string;
  readonly isProtected: boolean;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface Database {
  readonly id: number;
  readonly branchId: BranchId;
  readonly name: string;
  readonly ownerName: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface Operation {
  readonly id: string;
  readonly projectId: ProjectId;
  readonly branchId: BranchId | null;
  readonly endpointId: EndpointId | null;
  readonly action: OperationAction;
  readonly status: OperationStatus;
  readonly error: string | null;
  readonly failuresCount: number;
  readonly retryAt: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly totalDurationMs: number;
}

export type OperationAction =
  | 'create_timeline'
  | 'start_compute'
  | 'suspend_compute'
  | 'apply_config'
  | 'delete_timeline'
  | 'create_branch'
  | 'apply_storage_config';
export type OperationStatus =
  | 'scheduling'
  | 'running'
  | 'finished'
  | 'failed'
  | 'error'
  | 'cancelling'
  | 'cancelled'
  | 'skipped';

/** All that is needed to connect as a role. */
export interface ConnectionInfo {
  readonly connectionUri: string;
  readonly database: string;
  readonly role: string;
  readonly password: Secret;
  readonly host: string;
  readonly poolerHost: string;
}

export interface CreateProjectInput {
  readonly name?: string;
  readonly regionId?: string;
  readonly organizationId?: string;
  readonly pgVersion?: number;
  readonly settings?: ProjectSettings;
  readonly defaultEndpointSettings?: DefaultEndpointSettings;
  readonly historyRetentionSeconds?: number;
  readonly storePasswords?: boolean;
  readonly branch?: {
    readonly name?: string;
    readonly roleName?: string;
    readonly databaseName?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

export interface CreatedProject {
  readonly project: Project;
  readonly branch: Branch;
  readonly endpoints: readonly Endpoint[];
  readonly role: Role;
  readonly password: Secret;
  readonly database: Database;
  readonly connection: ConnectionInfo;
  readonly operations: readonly Operation[];
}

export interface UpdateProjectInput {
  readonly name?: string;
  readonly settings?: ProjectSettings;
  readonly defaultEndpointSettings?: DefaultEndpointSettings;
  readonly historyRetentionSeconds?: number;
}

export interface Projects {
  create(principal: Principal, input: CreateProjectInput): Promise<CreatedProject>;
  list(
    principal: Principal,
    page: PageRequest & { readonly search?: string; readonly organizationId?: string },
  ): Promise<Page<Project>>;
  get(principal: Principal, projectId: string): Promise<Project>;
  update(
    principal: Principal,
    projectId: string,
    input: UpdateProjectInput,
  ): Promise<{ project: Project; operations: readonly Operation[] }>;
  delete(principal: Principal, projectId: string): Promise<Project>;
  connection(
    principal: Principal,
    projectId: string,
    query: {
      readonly branchId?: string;
      readonly endpointId?: string;
      readonly databaseName: string;
      readonly roleName: string;
      readonly pooled?: boolean;
    },
  ): Promise<ConnectionInfo>;
}

export interface Branches {
  list(
    principal: Principal,
    projectId: string,
    page: PageRequest & {
      readonly search?: string;
      readonly sortBy?: 'name' | 'created_at' | 'updated_at';
      readonly sortOrder?: 'asc' | 'desc';
      readonly includeDeleted?: boolean;
    },
  ): Promise<Page<Branch>>;
  get(principal: Principal, projectId: string, branchId: string): Promise<Branch>;
  create(principal: Principal, projectId: string, input: CreateBranchInput): Promise<CreatedBranch>;
  update(principal: Principal, projectId: string, branchId: string, input: UpdateBranchInput): Promise<BranchChange>;
  setDefault(principal: Principal, projectId: string, branchId: string): Promise<BranchChange>;
  /**
   * Recoverable for 7 days unless `isHard`. Undefined: it was deleted before.
   * @throws PlatformError CONFLICT for a default, root, protected or parent branch
   */
  delete(
    principal: Principal,
    projectId: string,
    branchId: string,
    options: { readonly isHard: boolean },
  ): Promise<BranchChange | undefined>;
  recover(principal: Principal, projectId: string, branchId: string): Promise<BranchChange>;
  /** Its data becomes that of a moment; id, endpoints and connection strings stay. */
  restore(principal: Principal, projectId: string, branchId: string, input: RestoreBranchInput): Promise<BranchChange>;
  /** A branch made from a snapshot takes the place of the one that it was restored as. */
  finalizeRestore(
    principal: Principal,
    projectId: string,
    branchId: string,
    input: { readonly name?: string },
  ): Promise<BranchChange>;
  /** `schema` of one database as SQL. */
  schema(principal: Principal, projectId: string, branchId: string, query: SchemaQuery): Promise<string>;
  /** Unified diff from the base branch's schema (the parent's, unless named) to this branch's; empty if equal. */
  compareSchema(
    principal: Principal,
    projectId: string,
    branchId: string,
    query: SchemaQuery & { readonly baseBranchId?: string; readonly base?: MomentInput },
  ): Promise<string>;
}

/** At most one of both; none: the head. */
export interface MomentInput {
  readonly lsn?: string;
  readonly timestamp?: Date;
}

export interface SchemaQuery extends MomentInput {
  readonly databaseName: string;
}

export interface CreateBranchInput {
  readonly name?: string;
  /** Undefined: the default branch. */
  readonly parentId?: string;
  readonly at?: MomentInput;
  readonly initSource?: 'parent-data' | 'schema-only';
  readonly isProtected?: boolean;
  readonly isArchived?: boolean;
  readonly expiresAt?: Date;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly endpoints?: readonly NewEndpointInput[];
}

export interface CreatedBranch extends BranchChange {
  readonly endpoints: readonly Endpoint[];
  readonly roles: readonly Role[];
  /** By name, of roles that got a new one: those of a protected parent's child. */
  readonly passwords: ReadonlyMap<string, Secret>;
  readonly databases: readonly Database[];
  /** Empty unless it has an endpoint, one role and one database. */
  readonly connections: readonly ConnectionInfo[];
}

export interface UpdateBranchInput {
  readonly name?: string;
  readonly isProtected?: boolean;
  /** Null: it stays. */
  readonly expiresAt?: Date | null;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface RestoreBranchInput {
  readonly sourceBranchId: string;
  readonly at?: MomentInput;
  readonly preserveUnderName?: string;
}

export interface BranchChange {
  readonly branch: Branch;
  readonly operations: readonly Operation[];
}

export interface Snapshot {
  readonly id: SnapshotId;
  readonly projectId: ProjectId;
  readonly name: string;
  readonly lsn: string | null;
  readonly timestamp: Date | null;
  readonly sourceBranchId: BranchId;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly isManual: boolean;
  readonly fullBytes: number | null;
}

export interface SnapshotChange {
  readonly snapshot: Snapshot;
  readonly operations: readonly Operation[];
}

export interface SnapshotScheduleItem {
  readonly frequency: 'hourly' | 'daily' | 'weekly' | 'monthly' | 'yearly';
  readonly hour?: number;
  readonly day?: number;
  readonly month?: number;
  readonly retentionSeconds?: number;
}

export interface Snapshots {
  create(
    principal: Principal,
    projectId: string,
    branchId: string,
    input: { readonly name?: string; readonly at?: MomentInput; readonly expiresAt?: Date },
  ): Promise<SnapshotChange>;
  list(principal: Principal, projectId: string): Promise<readonly Snapshot[]>;
  update(
    principal: Principal,
    projectId: string,
    snapshotId: string,
    input: { readonly name?: string; readonly expiresAt?: Date | null },
  ): Promise<Snapshot>;
  delete(principal: Principal, projectId: string, snapshotId: string): Promise<readonly Operation[]>;
  restore(
    principal: Principal,
    projectId: string,
    snapshotId: string,
    input: { readonly name?: string; readonly targetBranchId?: string; readonly isFinal?: boolean },
  ): Promise<BranchChange>;
  schedule(principal: Principal, projectId: string, branchId: string): Promise<readonly SnapshotScheduleItem[]>;
  setSchedule(
    principal: Principal,
    projectId: string,
    branchId: string,
    items: readonly SnapshotScheduleItem[],
  ): Promise<readonly SnapshotScheduleItem[]>;
}

export interface NewEndpointInput {
  readonly type: 'read_write' | 'read_only';
  readonly name?: string;
  readonly minCu?: number;
  readonly maxCu?: number;
  readonly suspendTimeoutSeconds?: number;
  readonly disabled?: boolean;
  readonly pgSettings?: Readonly<Record<string, string>>;
}

export interface UpdateEndpointInput {
  readonly name?: string;
  readonly minCu?: number;
  readonly maxCu?: number;
  readonly suspendTimeoutSeconds?: number;
  readonly disabled?: boolean;
  readonly pgSettings?: Readonly<Record<string, string>>;
}

export interface EndpointChange {
  readonly endpoint: Endpoint;
  readonly operations: readonly Operation[];
}

export interface Endpoints {
  list(principal: Principal, projectId: string, branchId?: string): Promise<readonly Endpoint[]>;
  get(principal: Principal, projectId: string, endpointId: string): Promise<Endpoint>;
  /** @throws PlatformError CONFLICT if the branch has a read-write endpoint and this would be another */
  create(
    principal: Principal,
    projectId: string,
    input: NewEndpointInput & { readonly branchId: string },
  ): Promise<EndpointChange>;
  delete(principal: Principal, projectId: string, endpointId: string): Promise<EndpointChange>;
  update(
    principal: Principal,
    projectId: string,
    endpointId: string,
    input: UpdateEndpointInput,
  ): Promise<EndpointChange>;
  start(principal: Principal, projectId: string, endpointId: string): Promise<EndpointChange>;
  suspend(principal: Principal, projectId: string, endpointId: string): Promise<EndpointChange>;
  restart(principal: Principal, projectId: string, endpointId: string): Promise<EndpointChange>;
}

export interface RoleChange {
  readonly role: Role;
  /** Present after create and reset. */
  readonly password?: Secret;
  readonly operations: readonly Operation[];
}

export interface Roles {
  list(principal: Principal, projectId: string, branchId: string): Promise<readonly Role[]>;
  get(principal: Principal, projectId: string, branchId: string, name: string): Promise<Role>;
  create(
    principal: Principal,
    projectId: string,
    branchId: string,
    input: { readonly name: string; readonly noLogin?: boolean },
  ): Promise<RoleChange>;
  delete(principal: Principal, projectId: string, branchId: string, name: string): Promise<RoleChange>;
  resetPassword(principal: Principal, projectId: string, branchId: string, name: string): Promise<RoleChange>;
  /** @throws PlatformError CONFLICT (the API answers 412) if the project does not store passwords, or SQL set it */
  revealPassword(principal: Principal, projectId: string, branchId: string, name: string): Promise<Secret>;
}

export interface DatabaseChange {
  readonly database: Database;
  readonly operations: readonly Operation[];
}

export interface Databases {
  list(principal: Principal, projectId: string, branchId: string): Promise<readonly Database[]>;
  get(principal: Principal, projectId: string, branchId: string, name: string): Promise<Database>;
  create(
    principal: Principal,
    projectId: string,
    branchId: string,
    input: { readonly name: string; readonly ownerName: string },
  ): Promise<DatabaseChange>;
  update(
    principal: Principal,
    projectId: string,
    branchId: string,
    name: string,
    input: { readonly name?: string; readonly ownerName?: string },
  ): Promise<DatabaseChange>;
  delete(principal: Principal, projectId: string, branchId: string, name: string): Promise<DatabaseChange>;
}

export interface Operations {
  list(principal: Principal, projectId: string, page: PageRequest): Promise<Page<Operation>>;
  get(principal: Principal, projectId: string, operationId: string): Promise<Operation>;
}

export interface ApiKey {
  readonly id: number;
  readonly name: string;
  readonly createdAt: Date;
  readonly createdByUserId: string;
  readonly createdByName: string;
  readonly lastUsedAt: Date | null;
  readonly lastUsedFromAddress: string | null;
}

export interface ApiKeys {
  create(principal: Principal, name: string): Promise<{ readonly apiKey: ApiKey; readonly key: Secret }>;
  list(principal: Principal): Promise<readonly ApiKey[]>;
  revoke(principal: Principal, apiKeyId: number): Promise<ApiKey>;
}

export interface User {
  readonly id: string;
  readonly email: string;
  readonly login: string;
  readonly name: string;
  readonly projectsLimit: number;
}

export interface Organization {
  readonly id: OrganizationId;
  readonly name: string;
  readonly handle: string;
  readonly plan: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface Accounts {
  /** @throws PlatformError UNAUTHENTICATED */
  authenticate(key: string, fromAddress: string): Promise<Principal>;
  me(principal: Principal): Promise<User>;
  organizations(principal: Principal): Promise<readonly Organization[]>;
}
