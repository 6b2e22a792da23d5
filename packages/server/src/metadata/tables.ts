import type { ColumnType, Generated, JSONColumnType } from 'kysely';

/**
 * The metadata tables as Kysely types, one interface a table, each owned by one folder that alone writes it.
 * A test compares them with the live schema.
 */
export interface Tables {
  /** Owner: operations. */
  operations: OperationsTable;

  /** Owner: platform/accounts, with organizations and memberships. */
  users: UsersTable;
  organizations: OrganizationsTable;
  memberships: MembershipsTable;
  /** Owner: platform/api-keys. */
  api_keys: ApiKeysTable;
  /** Owner: platform/hosts. */
  hosts: HostsTable;
  /** Owner: platform/projects. */
  projects: ProjectsTable;
  /** Owner: platform/hosts. */
  host_removals: HostRemovalsTable;
  /** Owner: platform/branches. */
  branches: BranchesTable;
  branch_annotations: BranchAnnotationsTable;
  /** Owner: platform/snapshots. */
  snapshots: SnapshotsTable;
  snapshot_schedules: SnapshotSchedulesTable;
  /** Owner: platform/endpoints. */
  endpoints: EndpointsTable;
  /** Owner: platform/roles. */
  roles: RolesTable;
  /** Owner: platform/databases. */
  databases: DatabasesTable;
  /** Owner: platform/catalog. */
  catalog_changes: CatalogChangesTable;
  /** Owner: platform/usage. */
  compute_runs: ComputeRunsTable;
  /** Owner: platform/directory, with directory_epoch. */
  directory_entries: DirectoryEntriesTable;
  directory_epoch: DirectoryEpochTable;
}

/** Filled by the database where an insert leaves it out, or null then. */
export type Timestamp = ColumnType<Date, Date | string | undefined, Date | string>;
/** An insert must give it. */
export type GivenTimestamp = ColumnType<Date, Date | string, Date | string>;

export interface OperationsTable {
  id: string;
  /** Order of enqueuing. */
  seq: Generated<string>;
  project_id: string;
  branch_id: string | null;
  endpoint_id: string | null;
  kind: string;
  action: string;
  input: JSONColumnType<Record<string, unknown>>;
  /** Ids of operations that must have finished. */
  depends_on: Generated<string[]>;
  step: string;
  status: Generated<'scheduling' | 'running' | 'failing' | 'finished' | 'failed' | 'cancelled' | 'skipped'>;
  failure: JSONColumnType<{ code: string; message: string; details: Record<string, unknown> }> | null;
  attempt: Generated<number>;
  failures_count: Generated<number>;
  next_run_at: Timestamp;
  lease_owner: string | null;
  lease_until: Timestamp | null;
  deadline_at: Timestamp | null;
  created_at: Timestamp;
  updated_at: Timestamp;
  started_at: Timestamp | null;
  ended_at: Timestamp | null;
}

export interface UsersTable {
  id: string;
  email: string;
  login: string;
  name: string;
  projects_limit: Generated<number>;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface OrganizationsTable {
  id: string;
  name: string;
  handle: string;
  plan: string;
  projects_limit: Generated<number>;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface MembershipsTable {
  user_id: string;
  organization_id: string;
  role: 'admin' | 'member';
  created_at: Timestamp;
}

export interface HostsTable {
  id: string;
  created_at: Timestamp;
}

export interface HostRemovalsTable {
  project_id: string;
  kind: 'endpoint' | 'volume';
  id: string;
  created_at: Timestamp;
}

export interface ProjectsTable {
  id: string;
  organization_id: string;
  host_id: string;
  name: string;
  region_id: string;
  pg_version: number;
  settings: JSONColumnType<object>;
  default_endpoint_settings: JSONColumnType<object>;
  history_retention_seconds: number;
  store_passwords: boolean;
  creator_user_id: string;
  created_at: Timestamp;
  updated_at: Timestamp;
  deleted_at: Timestamp | null;
}

export interface ApiKeysTable {
  id: Generated<string>;
  hash: Buffer;
  name: string;
  origin: 'operator' | 'api';
  created_by_user_id: string;
  organization_id: string | null;
  project_id: string | null;
  created_at: Timestamp;
  last_used_at: Timestamp | null;
  last_used_from_address: string | null;
  revoked_at: Timestamp | null;
}

export interface BranchesTable {
  id: string;
  project_id: string;
  parent_id: string | null;
  name: string;
  state: 'init' | 'ready' | 'archived' | 'resetting';
  pending_state: 'ready' | 'archived' | 'storage_deleted' | null;
  state_changed_at: Timestamp;
  is_default: boolean;
  is_protected: Generated<boolean>;
  volume_id: string;
  logical_bytes: ColumnType<string | null, number | null | undefined, number | null>;
  catalog_seq: ColumnType<string, number | undefined, number>;
  catalog_settled_seq: ColumnType<string, number | undefined, number>;
  creator_user_id: string;
  created_at: Timestamp;
  updated_at: Timestamp;
  init_source: Generated<'parent-data' | 'schema-only'>;
  parent_lsn: string | null;
  parent_timestamp: Timestamp | null;
  expires_at: Timestamp | null;
  ttl_seconds: number | null;
  last_reset_at: Timestamp | null;
  archived_at: Timestamp | null;
  restored_from: string | null;
  restored_as: string | null;
  restore_status: 'restored' | 'finalized' | 'detaching' | null;
  backup_of: string | null;
  deleted_at: Timestamp | null;
  purge_at: Timestamp | null;
}

export interface BranchAnnotationsTable {
  branch_id: string;
  key: string;
  value: string;
}

export interface SnapshotsTable {
  id: string;
  project_id: string;
  source_branch_id: string;
  name: string;
  volume_id: string;
  state: Generated<'init' | 'ready'>;
  lsn: string | null;
  snapshot_timestamp: Timestamp | null;
  is_manual: boolean;
  full_bytes: ColumnType<string | null, number | null | undefined, number | null>;
  catalog: JSONColumnType<object>;
  expires_at: Timestamp | null;
  created_at: Timestamp;
}

export interface SnapshotSchedulesTable {
  branch_id: string;
  item: number;
  frequency: 'hourly' | 'daily' | 'weekly' | 'monthly' | 'yearly';
  hour: number | null;
  day: number | null;
  month: number | null;
  retention_seconds: number | null;
  next_run_at: GivenTimestamp;
}

export interface EndpointsTable {
  id: string;
  project_id: string;
  branch_id: string;
  name: string | null;
  type: 'read_write' | 'read_only';
  min_cu: number;
  max_cu: number;
  suspend_timeout_seconds: number;
  disabled: Generated<boolean>;
  pooler_enabled: Generated<boolean>;
  pg_settings: JSONColumnType<Record<string, string>>;
  generation: ColumnType<string, number | undefined, number>;
  report_version: ColumnType<string | null, number | undefined, number>;
  reported_generation: ColumnType<string | null, number | undefined, number>;
  compute_state: 'idle' | 'starting' | 'active' | 'suspending' | 'failed' | null;
  started_at: Timestamp | null;
  suspended_at: Timestamp | null;
  last_active_at: Timestamp | null;
  failure: string | null;
  created_at: Timestamp;
  updated_at: Timestamp;
  volume_id: string | null;
  replica_lag_bytes: ColumnType<string | null, number | null | undefined, number | null>;
}

export interface RolesTable {
  branch_id: string;
  name: string;
  verifier: string | null;
  password_encrypted: Buffer | null;
  no_login: Generated<boolean>;
  is_protected: Generated<boolean>;
  is_deleting: Generated<boolean>;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface DatabasesTable {
  id: Generated<string>;
  branch_id: string;
  name: string;
  owner_name: string;
  is_deleting: Generated<boolean>;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface CatalogChangesTable {
  branch_id: string;
  seq: ColumnType<string, number, never>;
  change: JSONColumnType<{ kind: string }>;
  undo: JSONColumnType<{ kind: string }>;
  password_encrypted: Buffer | null;
  state: Generated<'pending' | 'applied' | 'refused'>;
  created_at: Timestamp;
  settled_at: Timestamp | null;
}

export interface ComputeRunsTable {
  compute_id: string;
  project_id: string;
  branch_id: string;
  endpoint_id: string;
  cu: number;
  started_at: GivenTimestamp;
  until: GivenTimestamp;
  ended: boolean;
}

export interface DirectoryEntriesTable {
  endpoint_id: string;
  project_id: string;
  branch_id: string;
  seq: ColumnType<string, number, number>;
  is_deleted: Generated<boolean>;
}

export interface DirectoryEpochTable {
  is_only_row: Generated<boolean>;
  epoch: Generated<string>;
}
