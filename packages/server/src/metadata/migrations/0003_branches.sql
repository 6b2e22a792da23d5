-- Branches of branches: where each came from, how long it stays, what was restored; snapshots and their schedules.

alter table branches
  add column init_source text not null default 'parent-data' check (init_source in ('parent-data', 'schema-only')),
  -- The moment of the parent that the branch began at; null for a root branch.
  add column parent_lsn text,
  add column parent_timestamp timestamptz,
  add column expires_at timestamptz(3),
  -- Seconds from the setting of expires_at to it; a reset from the parent starts it anew.
  add column ttl_seconds integer check (ttl_seconds > 0),
  add column last_reset_at timestamptz(3),
  add column archived_at timestamptz(3),
  -- Of a branch made from a snapshot: which, and what branch it takes the place of once that is finalized.
  add column restored_from text,
  add column restored_as text,
  add column restore_status text check (restore_status in ('restored', 'finalized', 'detaching')),
  -- Of a branch that keeps what another was before a restore: that other one.
  add column backup_of text,
  -- Set: as if deleted for all but recovery; removed for good at purge_at.
  add column deleted_at timestamptz(3),
  add column purge_at timestamptz(3),
  add check ((expires_at is null) = (ttl_seconds is null)),
  add check ((deleted_at is null) = (purge_at is null)),
  add check (not (is_default and (expires_at is not null or deleted_at is not null))),
  add check (not (is_protected and (expires_at is not null or deleted_at is not null)));

-- A deleted branch gives its name back.
alter table branches drop constraint branches_project_id_name_key;
create unique index branches_names on branches (project_id, name) where deleted_at is null;
create index branches_by_parent on branches (parent_id) where parent_id is not null;
create index branches_expiring on branches (expires_at) where expires_at is not null and deleted_at is null;
create index branches_to_purge on branches (purge_at) where purge_at is not null;

-- Notes of clients on a branch.
create table branch_annotations (
  branch_id text not null references branches on delete cascade,
  key text not null check (char_length(key) between 1 and 256),
  value text not null check (char_length(value) <= 1024),
  primary key (branch_id, key)
);

alter table endpoints
  -- A read-only endpoint has a volume of its own, a standby; null: the branch's.
  add column volume_id text unique,
  -- Bytes of WAL that a read-only endpoint is behind its branch; null until reported.
  add column replica_lag_bytes bigint check (replica_lag_bytes >= 0),
  add check ((type = 'read_only') = (volume_id is not null));

create table snapshots (
  id text primary key check (id ~ '^snap-[a-z0-9-]{1,55}$'),
  project_id text not null references projects on delete cascade,
  -- No foreign key: a snapshot outlives its branch.
  source_branch_id text not null,
  name text not null check (char_length(name) between 1 and 256),
  -- A volume that is never started; its head is the snapshot.
  volume_id text not null unique,
  state text not null default 'init' check (state in ('init', 'ready')),
  lsn text,
  snapshot_timestamp timestamptz,
  is_manual boolean not null,
  full_bytes bigint check (full_bytes >= 0),
  -- Roles, databases and settings of the branch then: what a branch made from it begins with.
  catalog jsonb not null,
  expires_at timestamptz(3),
  created_at timestamptz(3) not null default now(),
  unique (project_id, name)
);

create index snapshots_by_project on snapshots (project_id, created_at desc, id desc);
create index snapshots_expiring on snapshots (expires_at) where expires_at is not null;

-- One row per item of a branch's schedule.
create table snapshot_schedules (
  branch_id text not null references branches on delete cascade,
  item integer not null check (item >= 0),
  frequency text not null check (frequency in ('hourly', 'daily', 'weekly', 'monthly', 'yearly')),
  hour integer check (hour between 0 and 23),
  day integer check (day between 1 and 31),
  month integer check (month between 1 and 12),
  retention_seconds integer check (retention_seconds >= 3600),
  next_run_at timestamptz(3) not null,
  primary key (branch_id, item)
);

create index snapshot_schedules_due on snapshot_schedules (next_run_at);

-- What the host must still remove: written with the deletion of the rows that it belonged to, deleted once it is gone.
create table host_removals (
  project_id text not null references projects on delete cascade,
  kind text not null check (kind in ('endpoint', 'volume')),
  id text not null,
  created_at timestamptz(3) not null default now(),
  primary key (project_id, kind, id)
);
