import { sql, type Kysely, type Transaction } from 'kysely';
import type { EndpointReport } from '../../host/host.ts';
import type { Tables } from '../../metadata/tables.ts';

/** Stores what the host sees of an endpoint. False if it is gone, or what is stored is as new. */
export async function storeReportedState(tx: Transaction<Tables>, report: EndpointReport): Promise<boolean> {
  const { numUpdatedRows } = await tx
    .updateTable('endpoints')
    .set({
      report_version: report.version,
      reported_generation: report.generation,
      compute_state: report.state,
      started_at: report.startedAt,
      suspended_at: report.suspendedAt,
      last_active_at: report.lastActiveAt,
      failure: report.failure,
      replica_lag_bytes: report.replicaLagBytes,
    })
    .where('id', '=', report.endpointId)
    .where((e) => e.or([e('report_version', 'is', null), e('report_version', '<', String(report.version))]))
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

export async function isReadWrite(db: Kysely<Tables>, endpointId: string): Promise<boolean> {
  const row = await db.selectFrom('endpoints').select('type').where('id', '=', endpointId).executeTakeFirst();
  return row?.type === 'read_write';
}

/** The newest report that is stored; 0 if there is none. */
export async function getLastReportVersion(db: Kysely<Tables>): Promise<number> {
  const { rows } = await sql<{ version: string }>`
    select coalesce(max(report_version), 0) as version from endpoints`.execute(db);
  return Number(rows[0]?.version ?? 0);
}
