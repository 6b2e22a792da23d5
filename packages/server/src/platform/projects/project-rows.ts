import { sql, type Kysely, type Transaction } from 'kysely';
import type { OrganizationId } from '@tenantry/contract/ids.ts';
import type { Tables } from '../../metadata/tables.ts';
import { parseCursor, escapeLike, parseCursorTime, toPage } from '../cursor.ts';
import type { DefaultEndpointSettings, Page, PageRequest, Project, ProjectSettings } from '../platform.ts';

/** All of a project but its usage, which `usage` knows. */
export type ProjectRow = Omit<Project, 'usage'>;

const select = (db: Kysely<Tables>) =>
  db
    .selectFrom('projects')
    .select([
      'projects.id',
      'projects.organization_id',
      'projects.name',
      'projects.region_id',
      'projects.pg_version',
      'projects.settings',
      'projects.default_endpoint_settings',
      'projects.history_retention_seconds',
      'projects.store_passwords',
      'projects.creator_user_id',
      'projects.created_at',
      'projects.updated_at',
      sql<Date | null>`(select max(e.last_active_at) from endpoints e where e.project_id = projects.id)`.as(
        'compute_last_active_at',
      ),
    ]);

/** Also one that is being deleted; callers check access first. */
export async function findProjectRow(db: Kysely<Tables>, projectId: string): Promise<ProjectRow | undefined> {
  const row = await select(db).where('id', '=', projectId).executeTakeFirst();
  return row && toProject(row);
}

interface ProjectFilter {
  readonly organizationId: string;
  readonly search?: string | undefined;
  /** Only this one. */
  readonly projectId?: string | undefined;
}

/** Newest first, without those that are being deleted. */
export async function pageOfProjectRows(
  db: Kysely<Tables>,
  { organizationId, search, projectId }: ProjectFilter,
  { limit, cursor }: PageRequest,
): Promise<Page<ProjectRow>> {
  let query = select(db).where('organization_id', '=', organizationId).where('deleted_at', 'is', null);
  if (projectId !== undefined) query = query.where('id', '=', projectId);
  if (search !== undefined) {
    const pattern = `%${escapeLike(search)}%`;
    query = query.where((e) => e.or([e('name', 'ilike', pattern), e('id', 'ilike', pattern)]));
  }
  if (cursor !== undefined) {
    const [createdAt = '', id = ''] = parseCursor(cursor, 2);
    const last = [parseCursorTime(createdAt), id] as const;
    query = query.where(sql<boolean>`(created_at, id) < (${last[0]}, ${last[1]})`);
  }
  const rows = await query
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit + 1)
    .execute();
  return toPage(rows, limit, { keys: (row) => [row.created_at.toISOString(), row.id], toItem: toProject });
}

export interface NewProject {
  readonly id: string;
  readonly organizationId: string;
  readonly hostId: string;
  readonly name: string;
  readonly regionId: string;
  readonly pgVersion: number;
  readonly settings: ProjectSettings;
  readonly defaultEndpointSettings: DefaultEndpointSettings;
  readonly historyRetentionSeconds: number;
  readonly storePasswords: boolean;
  readonly creatorUserId: string;
}

export async function insertProject(tx: Transaction<Tables>, project: NewProject): Promise<void> {
  await tx
    .insertInto('projects')
    .values({
      id: project.id,
      organization_id: project.organizationId,
      host_id: project.hostId,
      name: project.name,
      region_id: project.regionId,
      pg_version: project.pgVersion,
      settings: JSON.stringify(project.settings),
      default_endpoint_settings: JSON.stringify(project.defaultEndpointSettings),
      history_retention_seconds: project.historyRetentionSeconds,
      store_passwords: project.storePasswords,
      creator_user_id: project.creatorUserId,
    })
    .execute();
}

export type ProjectUpdate = Pick<
  ProjectRow,
  'name' | 'settings' | 'defaultEndpointSettings' | 'historyRetentionSeconds'
>;

export async function updateProjectRow(tx: Transaction<Tables>, id: string, project: ProjectUpdate): Promise<void> {
  await tx
    .updateTable('projects')
    .set({
      name: project.name,
      settings: JSON.stringify(project.settings),
      default_endpoint_settings: JSON.stringify(project.defaultEndpointSettings),
      history_retention_seconds: project.historyRetentionSeconds,
      updated_at: sql`now()`,
    })
    .where('id', '=', id)
    .execute();
}

/** Until the commit, nobody else changes or deletes it. False if it is being deleted, or gone. */
export async function lockProject(tx: Transaction<Tables>, projectId: string): Promise<boolean> {
  const row = await tx
    .selectFrom('projects')
    .select('id')
    .where('id', '=', projectId)
    .where('deleted_at', 'is', null)
    .forNoKeyUpdate()
    .executeTakeFirst();
  return row !== undefined;
}

/** Makes the project invisible. False if it was, or is gone. */
export async function markProjectDeleted(tx: Transaction<Tables>, projectId: string): Promise<boolean> {
  const { numUpdatedRows } = await tx
    .updateTable('projects')
    .set({ deleted_at: sql`now()` })
    .where('id', '=', projectId)
    .where('deleted_at', 'is', null)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Of its branches, also deleted ones, of its read-only endpoints and its snapshots. */
export async function listVolumeIds(db: Kysely<Tables>, projectId: string): Promise<readonly string[]> {
  const { rows } = await sql<{ volume_id: string }>`
    select volume_id from branches where project_id = ${projectId}
    union select volume_id from endpoints where project_id = ${projectId} and volume_id is not null
    union select volume_id from snapshots where project_id = ${projectId}
    order by 1`.execute(db);
  return rows.map((row) => row.volume_id);
}

/** With all rows below it. Only one that was marked: what it owned on the host is gone. */
export async function deleteProjectRow(db: Kysely<Tables>, projectId: string): Promise<void> {
  await db.deleteFrom('projects').where('id', '=', projectId).where('deleted_at', 'is not', null).execute();
}

/** Projects that are marked as deleted, with no operation left that would remove them. */
export async function listAbandonedDeletions(db: Kysely<Tables>): Promise<readonly string[]> {
  const { rows } = await sql<{ id: string }>`
    select p.id from projects p
    where p.deleted_at is not null and not exists (
      select from operations o where o.project_id = p.id and o.status in ('scheduling', 'running', 'failing'))
    order by p.id`.execute(db);
  return rows.map((row) => row.id);
}

/** Projects of an organization, counted no further than `max`. */
export async function countProjects(db: Kysely<Tables>, organizationId: string, max: number): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from (
      select from projects where organization_id = ${organizationId} and deleted_at is null limit ${max}
    ) as counted`.execute(db);
  return rows[0]?.count ?? 0;
}

/** Seconds. */
export async function getHistoryRetention(db: Kysely<Tables>, projectId: string): Promise<number> {
  const query = db.selectFrom('projects').select('history_retention_seconds').where('id', '=', projectId);
  return (await query.executeTakeFirstOrThrow()).history_retention_seconds;
}

export async function getPgVersion(db: Kysely<Tables>, projectId: string): Promise<number> {
  const query = db.selectFrom('projects').select('pg_version').where('id', '=', projectId);
  return (await query.executeTakeFirstOrThrow()).pg_version;
}

type SelectedRow = Awaited<ReturnType<ReturnType<typeof select>['executeTakeFirstOrThrow']>>;

const toProject = (row: SelectedRow): ProjectRow => ({
  id: row.id,
  organizationId: row.organization_id as OrganizationId,
  name: row.name,
  regionId: row.region_id,
  pgVersion: row.pg_version,
  settings: row.settings,
  defaultEndpointSettings: row.default_endpoint_settings,
  historyRetentionSeconds: row.history_retention_seconds,
  storePasswords: row.store_passwords,
  creatorUserId: row.creator_user_id,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
  computeLastActiveAt: row.compute_last_active_at,
});
