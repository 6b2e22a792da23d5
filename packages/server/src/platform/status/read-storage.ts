import type { Kysely } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';

/** A volume, and whose it is. */
export interface VolumeOwner {
  readonly volumeId: string;
  readonly kind: 'branch' | 'deleted_branch' | 'snapshot' | 'replica';
  /** Of the branch, snapshot or endpoint. */
  readonly id: string;
  readonly name: string | null;
  readonly parentId: string | null;
  readonly projectId: string;
  readonly projectName: string;
}

interface VolumeFilter {
  /** Undefined: of all projects. */
  readonly projectId: string | undefined;
  readonly limit: number;
}

/** The volumes of all projects or of one, those with the most data first. */
export async function listVolumeOwners(
  db: Kysely<Tables>,
  { projectId, limit }: VolumeFilter,
): Promise<readonly VolumeOwner[]> {
  const branches = db
    .selectFrom('branches')
    .innerJoin('projects', 'projects.id', 'branches.project_id')
    .select((of) => [
      'branches.volume_id as volumeId',
      of
        .case()
        .when('branches.deleted_at', 'is', null)
        .then<VolumeOwner['kind']>('branch')
        .else<VolumeOwner['kind']>('deleted_branch')
        .end()
        .as('kind'),
      'branches.id as id',
      of.ref('branches.name').$castTo<string | null>().as('name'),
      'branches.parent_id as parentId',
      'branches.project_id as projectId',
      'projects.name as projectName',
      'branches.logical_bytes as bytes',
    ]);
  const snapshots = db
    .selectFrom('snapshots')
    .innerJoin('projects', 'projects.id', 'snapshots.project_id')
    .select((of) => [
      'snapshots.volume_id as volumeId',
      of.val<VolumeOwner['kind']>('snapshot').as('kind'),
      'snapshots.id as id',
      of.ref('snapshots.name').$castTo<string | null>().as('name'),
      of.ref('snapshots.source_branch_id').$castTo<string | null>().as('parentId'),
      'snapshots.project_id as projectId',
      'projects.name as projectName',
      'snapshots.full_bytes as bytes',
    ]);
  const replicas = db
    .selectFrom('endpoints')
    .innerJoin('projects', 'projects.id', 'endpoints.project_id')
    .innerJoin('branches', 'branches.id', 'endpoints.branch_id')
    .where('endpoints.volume_id', 'is not', null)
    .select((of) => [
      of.ref('endpoints.volume_id').$castTo<string>().as('volumeId'),
      of.val<VolumeOwner['kind']>('replica').as('kind'),
      'endpoints.id as id',
      'endpoints.name as name',
      of.ref('endpoints.branch_id').$castTo<string | null>().as('parentId'),
      'endpoints.project_id as projectId',
      'projects.name as projectName',
      'branches.logical_bytes as bytes',
    ]);
  const all = branches.unionAll(snapshots).unionAll(replicas).as('volumes');
  return await db
    .selectFrom(all)
    .select(['volumeId', 'kind', 'id', 'name', 'parentId', 'projectId', 'projectName'])
    .$if(projectId !== undefined, (query) => query.where('projectId', '=', projectId ?? ''))
    .orderBy('bytes', (by) => by.desc().nullsLast())
    .orderBy('id')
    .limit(limit)
    .execute();
}

/** How many volumes there are in all, or of one project. */
export async function countVolumes(db: Kysely<Tables>, projectId: string | undefined): Promise<number> {
  const counts = await Promise.all(
    (['branches', 'snapshots', 'endpoints'] as const).map(async (table) => {
      const { count } = await db
        .selectFrom(table)
        .where('volume_id', 'is not', null)
        .$if(projectId !== undefined, (query) => query.where('project_id', '=', projectId ?? ''))
        .select((of) => of.fn.countAll<string>().as('count'))
        .executeTakeFirstOrThrow();
      return Number(count);
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
