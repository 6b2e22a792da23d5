-- Durable work. One row is one operation; see operations/OPERATION.spec.md for its states and who changes what.
create table operations (
  id uuid primary key,
  -- Order of enqueuing within a project: enqueue holds the project's advisory lock until it commits.
  seq bigint not null generated always as identity unique,
  project_id text not null,
  branch_id text,
  endpoint_id text,
  kind text not null,
  action text not null,
  input jsonb not null,
  -- Operations that must have finished; if one failed or was cancelled, so is this one.
  depends_on uuid[] not null default '{}',
  step text not null,
  status text not null default 'scheduling'
    check (status in ('scheduling', 'running', 'failing', 'finished', 'failed', 'cancelled', 'skipped')),
  -- The last failure: of the present step's last try, or for good.
  failure jsonb,
  -- Number of the present (or next) try of the step, from 1.
  attempt integer not null default 1,
  failures_count integer not null default 0,
  next_run_at timestamptz not null default clock_timestamp(),
  lease_owner text,
  lease_until timestamptz,
  deadline_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  ended_at timestamptz,
  check ((lease_owner is null) = (lease_until is null)),
  check ((ended_at is not null) = (status in ('finished', 'failed', 'cancelled', 'skipped'))),
  check (ended_at is null or lease_owner is null),
  check (status not in ('failing', 'failed') or failure is not null)
);

-- All that the engine's poll reads; as large as the work at hand. No column that a step changes is in it, so that
-- leases and steps are heap-only updates.
create index operations_unended on operations (project_id, seq) where status in ('scheduling', 'running', 'failing');

-- Pages of a project, newest first.
create index operations_of_project on operations (project_id, created_at desc, id desc);
