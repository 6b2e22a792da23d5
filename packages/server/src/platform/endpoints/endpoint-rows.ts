import { sql, type Kysely, type Selectable, type Transaction } from 'kysely';
import { newVolumeId, type BranchId, type EndpointId } from '@tenantry/contract/ids.ts';
import type { EndpointsTable, Tables } from '../../metadata/tables.ts';
import type { ComputeState } from '../../host/host.ts';
import { toHostname } from '../projects/connection-uri.ts';
import type { Endpoint } from '../platform.ts';
import { toStateView } from './endpoint-state.ts';

type Row = Selectable<EndpointsTable> & { readonly region_id: string };

interface EndpointFilter {
  readonly projectId: string;
  readonly branchId?: string | undefined;
  readonly endpointId?: string;
}

const select = (db: Kysely<Tables>) =>
  db
    .selectFrom('endpoints')
    .innerJoin('projects', 'projects.id', 'endpoints.project_id')
    .innerJoin('branches', 'branches.id', 'endpoints.branch_id')
    .selectAll('endpoints')
    .select('projects.region_id');

/** Oldest first; of those made together the read-write one. @param domain endpoints are named under it */
export async function listEndpointRows(
  db: Kysely<Tables>,
  { projectId, branchId, endpointId }: EndpointFilter,
  domain: string,
): Promise<readonly Endpoint[]> {
  let query = select(db).where('endpoints.project_id', '=', projectId).where('branches.deleted_at', 'is', null);
  if (branchId !== undefined) query = query.where('endpoints.branch_id', '=', branchId);
  if (endpointId !== undefined) query = query.where('endpoints.id', '=', endpointId);
  const rows = await query
    .orderBy('endpoints.created_at')
    .orderBy('endpoints.type', 'desc')
    .orderBy('endpoints.id')
    .execute();
  return rows.map((row) => toEndpoint(row, domain));
}

export interface NewEndpoint {
  readonly id: EndpointId;
  readonly projectId: string;
  readonly branchId: BranchId;
  readonly type: 'read_write' | 'read_only';
  readonly name: string | null;
  readonly disabled: boolean;
  readonly minCu: number;
  readonly maxCu: number;
  readonly suspendTimeoutSeconds: number;
  readonly pgSettings: Readonly<Record<string, string>>;
}

/** A read-only one gets the id of a volume of its own. */
export async function insertEndpoint(tx: Transaction<Tables>, endpoint: NewEndpoint): Promise<void> {
  await tx
    .insertInto('endpoints')
    .values({
      id: endpoint.id,
      project_id: endpoint.projectId,
      branch_id: endpoint.branchId,
      type: endpoint.type,
      name: endpoint.name,
      disabled: endpoint.disabled,
      volume_id: endpoint.type === 'read_only' ? newVolumeId() : null,
      min_cu: endpoint.minCu,
      max_cu: endpoint.maxCu,
      suspend_timeout_seconds: endpoint.suspendTimeoutSeconds,
      pg_settings: JSON.stringify(endpoint.pgSettings),
    })
    .execute();
}

/** The host must be told anew. Part of the transaction that changes what it is told. */
export async function raiseGeneration(tx: Transaction<Tables>, endpointIds: readonly string[]): Promise<void> {
  await sql`update endpoints set generation = generation + 1 where id = any(${endpointIds})`.execute(tx);
}

export async function listEndpointTypes(
  db: Kysely<Tables>,
  branchId: string,
): Promise<readonly EndpointsTable['type'][]> {
  const rows = await db.selectFrom('endpoints').select('type').where('branch_id', '=', branchId).execute();
  return rows.map((row) => row.type);
}

/**
 * For a new endpoint, whose reports count from 0: what was settled on an endpoint before is in the volume, so that
 * anything that its compute shows is newer.
 */
export async function forgetSettledChanges(tx: Transaction<Tables>, branchId: string): Promise<void> {
  await sql`update branches set catalog_settled_seq = 0 where id = ${branchId}`.execute(tx);
}

export async function findReadWriteEndpointId(db: Kysely<Tables>, branchId: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('endpoints')
    .select('id')
    .where('branch_id', '=', branchId)
    .where('type', '=', 'read_write')
    .executeTakeFirst();
  return row?.id;
}

export async function listEndpointIds(
  db: Kysely<Tables>,
  { projectId, branchId }: { readonly projectId?: string; readonly branchId?: string },
): Promise<readonly string[]> {
  let query = db.selectFrom('endpoints').select('id').orderBy('id');
  if (projectId !== undefined) query = query.where('project_id', '=', projectId);
  if (branchId !== undefined) query = query.where('branch_id', '=', branchId);
  return (await query.execute()).map((row) => row.id);
}

/** Of a branch; `volumeId` is null where the endpoint is on the branch's own. */
export async function listEndpointVolumes(
  db: Kysely<Tables>,
  branchId: string,
): Promise<readonly { readonly endpointId: EndpointId; readonly volumeId: string | null }[]> {
  const rows = await db
    .selectFrom('endpoints')
    .select(['id', 'volume_id'])
    .where('branch_id', '=', branchId)
    .orderBy('id')
    .execute();
  return rows.map((row) => ({ endpointId: row.id as EndpointId, volumeId: row.volume_id }));
}

/** The own volume of a read-only endpoint, and that of its branch as `source`; undefined for any other endpoint. */
export async function findReplicaVolume(
  db: Kysely<Tables>,
  endpointId: string,
): Promise<{ readonly volumeId: string; readonly source: string; readonly projectId: string } | undefined> {
  const row = await db
    .selectFrom('endpoints')
    .innerJoin('branches', 'branches.id', 'endpoints.branch_id')
    .select(['endpoints.volume_id', 'branches.volume_id as source', 'branches.project_id'])
    .where('endpoints.id', '=', endpointId)
    .executeTakeFirst();
  if (!row || row.volume_id === null) return undefined;
  return { volumeId: row.volume_id, source: row.source, projectId: row.project_id };
}

/** Endpoints of which the host has told another generation than ours, once their volume exists; in the order of ids. */
export async function listOutdatedEndpointIds(
  db: Kysely<Tables>,
  afterId: string,
  limit: number,
): Promise<readonly string[]> {
  const rows = await db
    .selectFrom('endpoints')
    .innerJoin('branches', 'branches.id', 'endpoints.branch_id')
    .innerJoin('projects', 'projects.id', 'endpoints.project_id')
    .select('endpoints.id')
    .where('branches.state', '!=', 'init')
    .where(sql<boolean>`endpoints.reported_generation is distinct from endpoints.generation`)
    .where('projects.deleted_at', 'is', null)
    .where('endpoints.id', '>', afterId)
    .orderBy('endpoints.id')
    .limit(limit)
    .execute();
  return rows.map((row) => row.id);
}

export interface ReportedState {
  /** Null: the host has not reported yet. */
  readonly state: ComputeState | null;
  readonly version: number;
}

/** What the host last reported; undefined if there is no such endpoint. */
export async function findReportedState(db: Kysely<Tables>, endpointId: string): Promise<ReportedState | undefined> {
  const row = await db
    .selectFrom('endpoints')
    .select(['compute_state', 'report_version'])
    .where('id', '=', endpointId)
    .executeTakeFirst();
  return row && { state: row.compute_state, version: Number(row.report_version ?? 0) };
}

function toEndpoint(row: Row, domain: string): Endpoint {
  const id = row.id as EndpointId;
  return {
    id,
    branchId: row.branch_id as BranchId,
    projectId: row.project_id,
    name: row.name,
    type: row.type,
    hostname: toHostname(domain, id),
    regionId: row.region_id,
    minCu: row.min_cu,
    maxCu: row.max_cu,
    suspendTimeoutSeconds: row.suspend_timeout_seconds,
    disabled: row.disabled,
    poolerEnabled: row.pooler_enabled,
    pgSettings: row.pg_settings,
    ...toStateView(row.compute_state, row.started_at),
    computeReleaseVersion: null,
    creationSource: 'console',
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    startedAt: row.started_at,
    suspendedAt: row.suspended_at,
    lastActiveAt: row.last_active_at,
    replicaLagBytes: row.replica_lag_bytes === null ? null : Number(row.replica_lag_bytes),
  };
}
