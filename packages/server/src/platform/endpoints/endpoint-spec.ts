import { sql, type Kysely } from 'kysely';
import type { BranchId, EndpointId } from '@tenantry/contract/ids.ts';
import type { CatalogChange, EndpointSpec } from '../../host/host.ts';
import type { Tables } from '../../metadata/tables.ts';
import type { DefaultEndpointSettings } from '../platform.ts';
import { resolveSuspendTimeout } from './suspend-timeout.ts';

interface SpecRow {
  readonly id: EndpointId;
  readonly branch_id: BranchId;
  readonly project_id: string;
  readonly volume_id: string;
  readonly primary_volume_id: string | null;
  readonly generation: string;
  readonly pg_version: number;
  readonly type: EndpointSpec['type'];
  readonly min_cu: number;
  readonly max_cu: number;
  readonly disabled: boolean;
  readonly branch_deleted: boolean;
  readonly suspend_timeout_seconds: number;
  readonly default_endpoint_settings: DefaultEndpointSettings;
  readonly pg_settings: Record<string, string>;
  readonly changes: readonly CatalogChange[];
}

/** What the host is to be told of an endpoint now; undefined if it is gone or being deleted. */
export async function findEndpointSpec(db: Kysely<Tables>, endpointId: string): Promise<EndpointSpec | undefined> {
  return (await listEndpointSpecs(db, [endpointId]))[0];
}

/** One statement, so that the settings, the pending changes and the generation are of one moment. */
export async function listEndpointSpecs(
  db: Kysely<Tables>,
  endpointIds: readonly string[],
): Promise<readonly EndpointSpec[]> {
  const { rows } = await sql<SpecRow>`
    select e.id, e.branch_id, e.project_id, coalesce(e.volume_id, b.volume_id) as volume_id,
      case e.type when 'read_only' then b.volume_id end as primary_volume_id, e.generation, p.pg_version, e.type, e.min_cu, e.max_cu,
      e.disabled or b.deleted_at is not null as disabled, b.deleted_at is not null as branch_deleted, e.suspend_timeout_seconds, p.default_endpoint_settings, e.pg_settings,
      (select coalesce(jsonb_agg(c.change || jsonb_build_object('seq', c.seq) order by c.seq), '[]')
        from catalog_changes c where c.branch_id = e.branch_id and c.state = 'pending' and e.type = 'read_write') as changes
    from endpoints e
    join branches b on b.id = e.branch_id
    join projects p on p.id = e.project_id and p.deleted_at is null
    where e.id = any(${endpointIds})
    order by e.id`.execute(db);
  return rows.map(toSpec);
}

function toSpec(row: SpecRow): EndpointSpec {
  return {
    endpointId: row.id,
    branchId: row.branch_id,
    projectId: row.project_id,
    volumeId: row.volume_id,
    generation: Number(row.generation),
    pgVersion: row.pg_version,
    type: row.type,
    ...(row.primary_volume_id === null ? {} : { primaryVolumeId: row.primary_volume_id }),
    minCu: row.min_cu,
    maxCu: row.max_cu,
    disabled: row.disabled,
    branchDeleted: row.branch_deleted,
    suspendTimeoutSeconds: resolveSuspendTimeout(
      row.suspend_timeout_seconds,
      row.default_endpoint_settings.suspendTimeoutSeconds,
    ),
    pgSettings: row.pg_settings,
    catalogChanges: row.changes,
  };
}
