import type { OrganizationId, ProjectId } from '@tenantry/contract/ids.ts';
import type { Secret } from '../kernel/secret.ts';
import type {
  ApiKey,
  Branch,
  ConnectionInfo,
  Database,
  DefaultEndpointSettings,
  Endpoint,
  Operation,
  Organization,
  Project,
  ProjectSettings,
  Role,
  Snapshot,
  SnapshotScheduleItem,
  User,
} from './objects.ts';

export type * from './objects.ts';

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
  /** RFC 3339, as exact as it was given: a `Date` would lose Postgres' microseconds. */
  readonly timestamp?: string;
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

export interface SnapshotChange {
  readonly snapshot: Snapshot;
  readonly operations: readonly Operation[];
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

export interface ApiKeys {
  create(principal: Principal, name: string): Promise<{ readonly apiKey: ApiKey; readonly key: Secret }>;
  list(principal: Principal): Promise<readonly ApiKey[]>;
  revoke(principal: Principal, apiKeyId: number): Promise<ApiKey>;
}

export interface Accounts {
  /** @throws PlatformError UNAUTHENTICATED */
  authenticate(key: string, fromAddress: string): Promise<Principal>;
  me(principal: Principal): Promise<User>;
  organizations(principal: Principal): Promise<readonly Organization[]>;
}
