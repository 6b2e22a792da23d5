import { sql, type Kysely, type Transaction } from 'kysely';
import type { EndpointId } from '@tenantry/contract/ids.ts';
import type { Tables } from '../../metadata/tables.ts';

/** What the host must still remove of a project. */
export interface HostRemovals {
  readonly endpointIds: readonly EndpointId[];
  readonly volumeIds: readonly string[];
}

/** Part of the transaction that deletes the rows that these belonged to. */
export async function insertHostRemovals(
  tx: Transaction<Tables>,
  projectId: string,
  { endpointIds = [], volumeIds = [] }: Partial<HostRemovals>,
): Promise<void> {
  const values = [
    ...endpointIds.map((id) => ({ project_id: projectId, kind: 'endpoint' as const, id })),
    ...volumeIds.map((id) => ({ project_id: projectId, kind: 'volume' as const, id })),
  ];
  if (values.length === 0) return;
  await tx
    .insertInto('host_removals')
    .values(values)
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function listHostRemovals(db: Kysely<Tables>, projectId: string): Promise<HostRemovals> {
  const rows = await db
    .selectFrom('host_removals')
    .select(['kind', 'id'])
    .where('project_id', '=', projectId)
    .orderBy('id')
    .execute();
  return {
    endpointIds: rows.filter(({ kind }) => kind === 'endpoint').map(({ id }) => id as EndpointId),
    volumeIds: rows.filter(({ kind }) => kind === 'volume').map(({ id }) => id),
  };
}

export async function deleteHostRemoval(
  db: Kysely<Tables>,
  projectId: string,
  { kind, id }: { readonly kind: 'endpoint' | 'volume'; readonly id: string },
): Promise<void> {
  await db
    .deleteFrom('host_removals')
    .where('project_id', '=', projectId)
    .where('kind', '=', kind)
    .where('id', '=', id)
    .execute();
}

/** Projects with something to be removed, and no operation left that may do it. */
export async function listProjectsWithRemovals(db: Kysely<Tables>): Promise<readonly string[]> {
  const { rows } = await sql<{ id: string }>`
    select distinct r.project_id as id
    from host_removals r join projects p on p.id = r.project_id and p.deleted_at is null
    where not exists (
      select from operations o where o.project_id = r.project_id and o.status in ('scheduling', 'running', 'failing'))
    order by 1`.execute(db);
  return rows.map((row) => row.id);
}
