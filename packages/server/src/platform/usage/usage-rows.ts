import { sql, type Kysely, type Transaction } from 'kysely';
import type { ComputeRun } from '../../host/host.ts';
import type { Tables } from '../../metadata/tables.ts';
import type { ProjectUsage } from '../platform.ts';
import type { Period } from './billing-period.ts';

export interface RunOwner {
  readonly endpointId: string;
  readonly branchId: string;
  readonly projectId: string;
}

/** Stores what is known of runs now. In any order, any number of times: a run only grows, and ends once. */
export async function storeComputeRuns(
  tx: Transaction<Tables>,
  owner: RunOwner,
  runs: readonly ComputeRun[],
): Promise<void> {
  if (runs.length === 0) return;
  const values = runs.map((run) => ({
    compute_id: run.computeId,
    project_id: owner.projectId,
    branch_id: owner.branchId,
    endpoint_id: owner.endpointId,
    cu: run.cu,
    started_at: run.startedAt,
    // A clock that was set back must not make a run end before it began.
    until: new Date(Math.max(Date.parse(run.until), Date.parse(run.startedAt))),
    ended: run.ended,
  }));
  await tx
    .insertInto('compute_runs')
    .values(values)
    .onConflict((conflict) =>
      conflict.column('compute_id').doUpdateSet({
        until: sql`greatest(compute_runs.until, excluded.until)`,
        ended: sql`compute_runs.ended or excluded.ended`,
      }),
    )
    .execute();
}

/** Key: id of the project, or of the branch where the usage of branches was asked for. */
export type UsageById = ReadonlyMap<string, ProjectUsage>;

/** What these projects, or branches, have used in the period so far. Ids without any usage are in it with zeros. */
export async function listUsage(
  db: Kysely<Tables>,
  of: 'project_id' | 'branch_id',
  ids: readonly string[],
  period: Period,
): Promise<UsageById> {
  const key = sql.ref(of);
  const branchKey = sql.ref(of === 'project_id' ? 'project_id' : 'id');
  const { rows } = await sql<{ id: string; active_seconds: number; compute_seconds: number; logical_bytes: string }>`
    select wanted.id, coalesce(runs.active_seconds, 0) as active_seconds,
      coalesce(runs.compute_seconds, 0) as compute_seconds,
      (select coalesce(sum(b.logical_bytes), 0) from branches b where ${branchKey} = wanted.id) as logical_bytes
    from unnest(${ids}::text[]) as wanted (id)
    left join (
      select ${key} as id, sum(seconds)::float8 as active_seconds, sum(seconds * cu)::float8 as compute_seconds
      from (
        select ${key}, cu, extract(epoch from least(until, ${period.end}) - greatest(started_at, ${period.start}))::float8 as seconds
        from compute_runs
        where ${key} = any(${ids}) and until > ${period.start} and started_at < ${period.end}
      ) as clipped
      group by ${key}
    ) as runs on runs.id = wanted.id`.execute(db);
  return new Map(
    rows.map((row) => [
      row.id,
      toUsage(period, {
        activeSeconds: row.active_seconds,
        computeSeconds: row.compute_seconds,
        logicalBytes: Number(row.logical_bytes),
      }),
    ]),
  );
}

interface Measured {
  readonly activeSeconds: number;
  readonly computeSeconds: number;
  readonly logicalBytes: number;
}

/** Written and transferred bytes are not metered yet. */
function toUsage(period: Period, { activeSeconds, computeSeconds, logicalBytes }: Measured): ProjectUsage {
  return {
    periodStart: period.start,
    periodEnd: period.end,
    activeTimeSeconds: Math.floor(activeSeconds),
    computeTimeSeconds: Math.floor(computeSeconds),
    cpuUsedSeconds: Math.floor(computeSeconds),
    writtenDataBytes: 0,
    dataTransferBytes: 0,
    dataStorageBytesHour: 0,
    logicalBytes,
  };
}

export const noUsage = (period: Period): ProjectUsage =>
  toUsage(period, { activeSeconds: 0, computeSeconds: 0, logicalBytes: 0 });
