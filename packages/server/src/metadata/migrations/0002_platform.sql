-- The domain: who asks (users, organizations, api_keys), what they have (projects and all below them), where it runs
-- (hosts), what it used (compute_runs), and how the gateways learn of it (directory_entries).
-- Times that clients page by have milliseconds, so that they survive a JavaScript Date.

create table users (
  id text primary key,
  email text not null unique,
  login text not null unique,
  name text not null,
  projects_limit integer not null default 100000 check (projects_limit >= 0),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);

create table organizations (
  id text primary key check (id ~ '^org-[a-z0-9-]{1,56}$'),
  name text not null check (char_length(name) between 1 and 256),
  handle text not null unique,
  plan text not null,
  projects_limit integer not null default 100000 check (projects_limit >= 0),
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);

create table memberships (
  user_id text not null references users on delete cascade,
  organization_id text not null references organizations on delete cascade,
  role text not null check (role in ('admin', 'member')),
  created_at timestamptz(3) not null default now(),
  primary key (user_id, organization_id)
);

create table hosts (
  id text primary key,
  created_at timestamptz(3) not null default now()
);

create table projects (
  id text primary key check (id ~ '^[a-z0-9-]{1,60}$'),
  organization_id text not null references organizations,
  host_id text not null references hosts,
  name text not null check (char_length(name) between 1 and 256),
  region_id text not null,
  pg_version integer not null check (pg_version between 14 and 18),
  settings jsonb not null,
  default_endpoint_settings jsonb not null,
  history_retention_seconds integer not null check (history_retention_seconds between 0 and 2592000),
  store_passwords boolean not null,
  creator_user_id text not null references users,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  -- Set: invisible at once; operations remove what it owns, the row last.
  deleted_at timestamptz(3)
);

create index projects_by_age on projects (organization_id, created_at desc, id desc) where deleted_at is null;
create index projects_being_deleted on projects (id) where deleted_at is not null;

-- A key is 240 random bits (or the operator's own secret), so one fast hash hides it well enough.
create table api_keys (
  id bigint generated always as identity primary key,
  hash bytea not null unique check (octet_length(hash) = 32),
  name text not null check (char_length(name) between 1 and 256),
  -- operator: given or made at start; api: made by a client.
  origin text not null check (origin in ('operator', 'api')),
  created_by_user_id text not null references users,
  -- Null: a personal key, which acts for all organizations of its user.
  organization_id text references organizations on delete cascade,
  project_id text references projects on delete cascade,
  created_at timestamptz(3) not null default now(),
  last_used_at timestamptz(3),
  last_used_from_address text,
  revoked_at timestamptz(3),
  check (project_id is null or organization_id is not null)
);

create unique index api_keys_one_of_operator on api_keys (origin) where origin = 'operator' and revoked_at is null;
create index api_keys_by_user on api_keys (created_by_user_id, id) where revoked_at is null;
create index api_keys_by_project on api_keys (project_id) where project_id is not null;

create table branches (
  id text primary key check (id ~ '^br-[a-z0-9-]{1,57}$'),
  project_id text not null references projects on delete cascade,
  parent_id text,
  name text not null check (char_length(name) between 1 and 256),
  state text not null check (state in ('init', 'ready', 'archived', 'resetting')),
  pending_state text check (pending_state in ('ready', 'archived', 'storage_deleted')),
  state_changed_at timestamptz(3) not null default now(),
  is_default boolean not null,
  is_protected boolean not null default false,
  volume_id text not null unique,
  logical_bytes bigint check (logical_bytes >= 0),
  -- Number of the last change to roles or databases that was ordered, and of the last that is settled.
  catalog_seq bigint not null default 0,
  catalog_settled_seq bigint not null default 0 check (catalog_settled_seq between 0 and catalog_seq),
  creator_user_id text not null references users,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  unique (project_id, name),
  unique (project_id, id),
  foreign key (project_id, parent_id) references branches (project_id, id)
);

create unique index branches_one_default on branches (project_id) where is_default;

create table endpoints (
  id text primary key check (id ~ '^ep-[a-z0-9-]{1,57}$'),
  project_id text not null,
  branch_id text not null,
  name text check (char_length(name) between 1 and 256),
  type text not null check (type in ('read_write', 'read_only')),
  min_cu double precision not null check (min_cu between 0.25 and 56),
  max_cu double precision not null check (max_cu between min_cu and 56),
  -- As the client gave it: 0 default, -1 never.
  suspend_timeout_seconds integer not null check (suspend_timeout_seconds between -1 and 604800),
  disabled boolean not null default false,
  pooler_enabled boolean not null default false,
  pg_settings jsonb not null,
  -- Grows with every change of what the host is told.
  generation bigint not null default 1 check (generation > 0),
  -- The columns below are what the host last reported; null until it did.
  report_version bigint,
  -- The generation that the host has; if it is not ours, the host must be told again.
  reported_generation bigint,
  compute_state text check (compute_state in ('idle', 'starting', 'active', 'suspending', 'failed')),
  started_at timestamptz(3),
  suspended_at timestamptz(3),
  last_active_at timestamptz(3),
  failure text,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  foreign key (project_id, branch_id) references branches (project_id, id) on delete cascade
);

create unique index endpoints_one_read_write on endpoints (branch_id) where type = 'read_write';
create index endpoints_outdated on endpoints (id) where reported_generation is distinct from generation;
create index endpoints_by_branch on endpoints (project_id, branch_id);

create table roles (
  branch_id text not null references branches on delete cascade,
  name text not null check (octet_length(name) between 1 and 63),
  -- SCRAM-SHA-256 verifier as Postgres keeps it; null: no log in through the gateway.
  verifier text check (verifier like 'SCRAM-SHA-256$%'),
  -- Null: not to be stored, or set by SQL.
  password_encrypted bytea,
  no_login boolean not null default false,
  is_protected boolean not null default false,
  -- A change that drops it is pending.
  is_deleting boolean not null default false,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  primary key (branch_id, name),
  check (not no_login or (verifier is null and password_encrypted is null))
);

create table databases (
  id bigint generated always as identity primary key,
  branch_id text not null references branches on delete cascade,
  name text not null check (octet_length(name) between 1 and 63),
  -- No foreign key: SQL may give a database to a role that cannot log in, which has no row.
  owner_name text not null check (octet_length(owner_name) between 1 and 63),
  is_deleting boolean not null default false,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  unique (branch_id, name)
);

-- Changes to roles and databases that the API ordered. The host applies the pending ones in the order of seq.
create table catalog_changes (
  branch_id text not null references branches on delete cascade,
  seq bigint not null check (seq > 0),
  -- CatalogChange without its seq; the verifier leaves it once settled.
  change jsonb not null,
  -- What puts the rows back if Postgres refuses.
  undo jsonb not null,
  -- Of put_role: becomes the role's once applied.
  password_encrypted bytea,
  state text not null default 'pending' check (state in ('pending', 'applied', 'refused')),
  created_at timestamptz(3) not null default now(),
  settled_at timestamptz(3),
  primary key (branch_id, seq),
  check ((state = 'pending') = (settled_at is null)),
  check (state = 'pending' or password_encrypted is null)
);

create index catalog_changes_pending on catalog_changes (branch_id, seq) where state = 'pending';

-- Usage: one life of a compute. No foreign keys: usage outlives what it was used by.
create table compute_runs (
  compute_id text primary key,
  project_id text not null,
  branch_id text not null,
  endpoint_id text not null,
  cu double precision not null check (cu > 0),
  started_at timestamptz(3) not null,
  until timestamptz(3) not null,
  ended boolean not null,
  check (until >= started_at)
);

create index compute_runs_by_project on compute_runs (project_id, until);
create index compute_runs_by_branch on compute_runs (branch_id, until);

-- One row per endpoint that ever was: seq of its last change. Rows of deleted endpoints stay, for gateways that were
-- away, and to know whose a late usage run is. Written only under the advisory lock 'tenantry.directory', which is held
-- to the commit, so the order of seq is the order of commit.
create sequence directory_seq;

create table directory_entries (
  endpoint_id text primary key,
  project_id text not null,
  branch_id text not null,
  seq bigint not null unique,
  is_deleted boolean not null default false
);

-- Tells a gateway that the directory it has a copy of is that of another database.
create table directory_epoch (
  is_only_row boolean primary key default true check (is_only_row),
  epoch uuid not null default gen_random_uuid()
);

insert into directory_epoch default values;
