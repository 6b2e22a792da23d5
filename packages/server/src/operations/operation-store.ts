import { sql, type Kysely, type RawBuilder } from 'kysely';
import { unreachable } from '../kernel/assert.ts';
import type { Tables } from '../metadata/tables.ts';
import type { Change } from './decide.ts';
import type { OperationFailure, OperationOutcome } from './operation.ts';

/** An operation that this engine holds the lease of. */
export interface ClaimedOperation {
  readonly id: string;
  readonly projectId: string;
  readonly kind: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly step: string;
  readonly status: 'running' | 'failing';
  readonly failure: OperationFailure | null;
  readonly attempt: number;
  readonly dependencyFailed: boolean;
  /** Until the operation's deadline, as the database's clock has it; may be negative. */
  readonly remainingMs: number;
}

interface ClaimOptions {
  readonly limit: number;
  readonly leaseMs: number;
  /** The kinds that this engine knows, with the deadlines of their operations. */
  readonly deadlinesMs: ReadonlyMap<string, number>;
  /** Operations whose steps run here still, although their lease may have ended. */
  readonly except: readonly string[];
}

/** The statements of the engine on its table. All times are the database's; a lease is the owner's name and an end. */
export class OperationStore {
  readonly #db: Kysely<Tables>;
  readonly #owner: string;

  constructor(db: Kysely<Tables>, owner: string) {
    this.#db = db;
    this.#owner = owner;
  }

  /**
   * Takes the lease of up to `limit` due operations: the first unended one of its project, all that it depends on has
   * ended, its time has come, and nobody holds it.
   *
   * Locks: the rows that it changes, those locked by others skipped, so two engines cannot wait for each other. A row
   * that another engine has just claimed is seen again with its new lease before it is locked. That no earlier
   * operation of the project appears later is what the lock of `enqueue` is for.
   */
  async claim({ limit, leaseMs, deadlinesMs, except }: ClaimOptions): Promise<readonly ClaimedOperation[]> {
    const { rows } = await sql<ClaimedOperation>`
      with due as (
        select o.id, k.deadline_ms
        from operations o
        join unnest(${[...deadlinesMs.keys()]}::text[], ${[...deadlinesMs.values()]}::float8[])
          as k (kind, deadline_ms) on k.kind = o.kind
        where o.status in ('scheduling', 'running', 'failing')
          and o.next_run_at <= now()
          and (o.lease_until is null or o.lease_until < now())
          and o.id <> all (${except}::uuid[])
          and not exists (
            select from operations e
            where e.project_id = o.project_id and e.seq < o.seq and e.status in ('scheduling', 'running', 'failing')
          )
          and not exists (
            select from operations d
            where d.id = any (o.depends_on) and d.status in ('scheduling', 'running', 'failing')
          )
        order by o.next_run_at
        limit ${limit}
        for update of o skip locked
      )
      update operations o
      set status = case o.status when 'scheduling' then 'running' else o.status end,
        lease_owner = ${this.#owner},
        lease_until = now() + ${interval(leaseMs)},
        started_at = coalesce(o.started_at, now()),
        deadline_at = coalesce(o.deadline_at, now() + due.deadline_ms * interval '1 millisecond'),
        updated_at = now()
      from due
      where o.id = due.id
      returning o.id, o.project_id as "projectId", o.kind, o.input, o.step, o.status, o.failure, o.attempt,
        extract(epoch from o.deadline_at - now())::float8 * 1000 as "remainingMs",
        exists (
          select from operations d where d.id = any (o.depends_on) and d.status in ('failed', 'cancelled')
        ) as "dependencyFailed"
    `.execute(this.#db);
    return rows;
  }

  /** Prolongs the leases and gives the ids of those that are still held. */
  async renew(ids: readonly string[], leaseMs: number): Promise<ReadonlySet<string>> {
    const { rows } = await sql<{ id: string }>`
      update operations set lease_until = now() + ${interval(leaseMs)}
      where id = any (${ids}::uuid[]) and lease_owner = ${this.#owner}
      returning id
    `.execute(this.#db);
    return new Set(rows.map((r) => r.id));
  }

  /**
   * Writes what a run led to, if the lease is still held; false if it is not. Repeating it after a lost answer is
   * harmless: a change that keeps the lease sets the same values, any other finds the lease gone.
   */
  async apply(id: string, change: Change): Promise<boolean> {
    const result = await sql`
      update operations set ${assignments(change)}, updated_at = clock_timestamp()
      where id = ${id} and lease_owner = ${this.#owner}
    `.execute(this.#db);
    return result.numAffectedRows === 1n;
  }

  /** Frees the leases of owners that `isDead`, so that nothing waits for them to run out. */
  async takeOver(isDead: (owner: string) => boolean): Promise<void> {
    const { rows } = await sql<{ owner: string }>`
      select distinct lease_owner as owner from operations
      where status in ('scheduling', 'running', 'failing') and lease_owner is not null
    `.execute(this.#db);
    const dead = rows.map((r) => r.owner).filter(isDead);
    if (dead.length === 0) return;
    await sql`
      update operations set ${released}
      where status in ('scheduling', 'running', 'failing') and lease_owner = any (${dead}::text[])
    `.execute(this.#db);
  }

  /** In no particular order; ids that do not exist are left out. */
  async outcomes(ids: readonly string[]): Promise<readonly OperationOutcome[]> {
    const { rows } = await sql<OperationOutcome>`
      select id, case status when 'failing' then 'running' else status end as status,
        case when status = 'failed' then failure end as failure
      from operations where id = any (${ids}::uuid[])
    `.execute(this.#db);
    return rows;
  }
}

const released = sql`lease_owner = null, lease_until = null`;

function assignments(change: Change): RawBuilder<unknown> {
  switch (change.kind) {
    case 'step':
      return sql`step = ${change.step}, attempt = 1, failure = null`;
    case 'failing':
      return sql`status = 'failing', attempt = 1, failure = ${json(change.failure)},
        failures_count = failures_count + 1`;
    case 'wait':
      return sql`${released}, attempt = 1, failure = null, next_run_at = now() + ${interval(change.delayMs)}`;
    case 'retry':
      return sql`${released}, attempt = attempt + 1, failures_count = failures_count + 1,
        failure = coalesce(${json(change.failure)}, failure), next_run_at = now() + ${interval(change.delayMs)}`;
    case 'release':
      return released;
    case 'end':
      return sql`${released}, status = ${change.status}, failure = ${json(change.failure)},
        failures_count = failures_count + (${change.status} = 'failed' and status = 'running')::int,
        ended_at = clock_timestamp()`;
    default:
      return unreachable(change);
  }
}

function interval(ms: number): RawBuilder<unknown> {
  return sql`${ms}::float8 * interval '1 millisecond'`;
}

function json(value: OperationFailure | null): RawBuilder<unknown> {
  return sql`${value === null ? null : JSON.stringify(value)}::jsonb`;
}
