import type { Kysely } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';

/** What `tenantry status` and metrics tell of the whole platform, whoever owns the projects. */
export interface StatusCounts {
  readonly projects: number;
  /** Endpoints by state of their compute: idle, starting, active, suspending, failed. */
  readonly endpoints: Readonly<Record<string, number>>;
  /** Operations of the last day that failed, and all that have not ended, by status. */
  readonly operations: Readonly<Record<string, number>>;
}

export interface AwakeEndpoint {
  readonly endpointId: string;
  readonly projectId: string;
  readonly projectName: string;
  readonly startedAt: Date | null;
  readonly lastActiveAt: Date | null;
  /** Null of any but a read replica. */
  readonly replicaLagBytes: number | null;
}

const AWAKE_LISTED_MAX = 50;
const DAY_MS = 86_400_000;

export async function countStatus(db: Kysely<Tables>, now: Date): Promise<StatusCounts> {
  const count = db.fn.countAll<string>().as('count');
  const [projects, endpoints, operations] = await Promise.all([
    db.selectFrom('projects').where('deleted_at', 'is', null).select(count).executeTakeFirstOrThrow(),
    db.selectFrom('endpoints').select(['compute_state', count]).groupBy('compute_state').execute(),
    db
      .selectFrom('operations')
      .where((where) =>
        where.or([
          where('status', 'in', ['scheduling', 'running', 'failing']),
          where.and([where('status', '=', 'failed'), where('ended_at', '>', new Date(now.getTime() - DAY_MS))]),
        ]),
      )
      .select(['status', count])
      .groupBy('status')
      .execute(),
  ]);
  return {
    projects: Number(projects.count),
    endpoints: Object.fromEntries(endpoints.map((row) => [row.compute_state ?? 'new', Number(row.count)])),
    operations: Object.fromEntries(operations.map((row) => [row.status, Number(row.count)])),
  };
}

/** The endpoints whose compute runs now, the most recently active first. */
export async function listAwakeEndpoints(db: Kysely<Tables>): Promise<readonly AwakeEndpoint[]> {
  const rows = await db
    .selectFrom('endpoints')
    .innerJoin('projects', 'projects.id', 'endpoints.project_id')
    .where('endpoints.compute_state', 'in', ['starting', 'active', 'suspending'])
    .select([
      'endpoints.id',
      'endpoints.project_id',
      'projects.name',
      'endpoints.started_at',
      'endpoints.last_active_at',
      'endpoints.replica_lag_bytes',
    ])
    .orderBy('endpoints.last_active_at', (by) => by.desc().nullsLast())
    .limit(AWAKE_LISTED_MAX)
    .execute();
  return rows.map((row) => ({
    endpointId: row.id,
    projectId: row.project_id,
    projectName: row.name,
    startedAt: row.started_at,
    lastActiveAt: row.last_active_at,
    replicaLagBytes: row.replica_lag_bytes === null ? null : Number(row.replica_lag_bytes),
  }));
}

/** How far each awake read replica is behind its branch, in bytes of WAL. */
export async function listReplicaLags(db: Kysely<Tables>): Promise<Readonly<Record<string, number>>> {
  const rows = await db
    .selectFrom('endpoints')
    .where('replica_lag_bytes', 'is not', null)
    .select(['id', 'replica_lag_bytes'])
    .execute();
  return Object.fromEntries(rows.map((row) => [row.id, Number(row.replica_lag_bytes)]));
}
