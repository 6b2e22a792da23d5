import { sql, type Kysely, type Transaction } from 'kysely';
import type { BranchId, SnapshotId } from '@tenantry/contract/ids.ts';
import type { Tables } from '../../metadata/tables.ts';
import { exactTime } from '../exact-time.ts';
import type { Branch } from '../platform.ts';

/** All of a branch but its usage, which `usage` knows. */
export type BranchRow = Omit<Branch, 'usage'>;

interface BranchFilter {
  /** Also those that can be recovered. */
  readonly includeDeleted?: boolean;
}

function select(db: Kysely<Tables>, projectId: string, { includeDeleted = false }: BranchFilter) {
  const query = db
    .selectFrom('branches')
    .innerJoin('users', 'users.id', 'branches.creator_user_id')
    .select([
      'branches.id',
      'branches.project_id',
      'branches.parent_id',
      'branches.name',
      'branches.state',
      'branches.pending_state',
      'branches.state_changed_at',
      'branches.is_default',
      'branches.is_protected',
      'branches.logical_bytes',
      'branches.init_source',
      'branches.parent_lsn',
      exactTime('branches.parent_timestamp').as('parent_timestamp'),
      'branches.expires_at',
      'branches.ttl_seconds',
      'branches.last_reset_at',
      'branches.restored_from',
      'branches.restored_as',
      'branches.restore_status',
      'branches.deleted_at',
      'branches.purge_at',
      'branches.created_at',
      'branches.updated_at',
      'users.name as created_by_name',
      sql<Record<string, string>>`(select coalesce(jsonb_object_agg(a.key, a.value), '{}')
        from branch_annotations a where a.branch_id = branches.id)`.as('annotations'),
    ])
    .where('branches.project_id', '=', projectId);
  return includeDeleted ? query : query.where('branches.deleted_at', 'is', null);
}

/** All of a project, oldest first: a project has thousands at most. */
export async function listBranchRows(
  db: Kysely<Tables>,
  projectId: string,
  filter: BranchFilter = {},
): Promise<readonly BranchRow[]> {
  const rows = await select(db, projectId, filter).orderBy('branches.created_at').orderBy('branches.id').execute();
  return rows.map(toBranch);
}

export async function findBranchRow(
  db: Kysely<Tables>,
  projectId: string,
  branchId: string,
  filter: BranchFilter = {},
): Promise<BranchRow | undefined> {
  const row = await select(db, projectId, filter).where('branches.id', '=', branchId).executeTakeFirst();
  return row && toBranch(row);
}

export async function findDefaultBranchId(db: Kysely<Tables>, projectId: string): Promise<BranchId | undefined> {
  const row = await db
    .selectFrom('branches')
    .select('id')
    .where('project_id', '=', projectId)
    .where('is_default', '=', true)
    .executeTakeFirst();
  return row?.id as BranchId | undefined;
}

/** The volume that holds a branch's data now; undefined if there is no such branch. */
export async function findBranchVolumeId(db: Kysely<Tables>, branchId: string): Promise<string | undefined> {
  const row = await db.selectFrom('branches').select('volume_id').where('id', '=', branchId).executeTakeFirst();
  return row?.volume_id;
}

/** Children of a branch, also deleted ones that can be recovered. */
export async function listChildren(
  db: Kysely<Tables>,
  branchId: string,
): Promise<readonly { readonly id: string; readonly isDeleted: boolean }[]> {
  return db
    .selectFrom('branches')
    .select((e) => ['id', e('deleted_at', 'is not', null).$castTo<boolean>().as('isDeleted')])
    .where('parent_id', '=', branchId)
    .execute();
}

export interface BranchCounts {
  readonly all: number;
  readonly roots: number;
  readonly protected: number;
}

/** Of a project, without deleted ones. */
export async function countBranches(db: Kysely<Tables>, projectId: string): Promise<BranchCounts> {
  const { rows } = await sql<BranchCounts>`
    select count(*)::int as "all", (count(*) filter (where parent_id is null))::int as roots,
      (count(*) filter (where is_protected))::int as protected
    from branches where project_id = ${projectId} and deleted_at is null`.execute(db);
  return rows[0] ?? { all: 0, roots: 0, protected: 0 };
}

export async function hasBranchName(tx: Transaction<Tables>, projectId: string, name: string): Promise<boolean> {
  const row = await tx
    .selectFrom('branches')
    .select('id')
    .where('project_id', '=', projectId)
    .where('name', '=', name)
    .where('deleted_at', 'is', null)
    .executeTakeFirst();
  return row !== undefined;
}

function toBranch(row: Awaited<ReturnType<ReturnType<typeof select>['executeTakeFirstOrThrow']>>): BranchRow {
  return {
    id: row.id as BranchId,
    projectId: row.project_id,
    parentId: row.parent_id as BranchId | null,
    name: row.name,
    state: row.state,
    pendingState: row.pending_state,
    stateChangedAt: row.state_changed_at,
    isDefault: row.is_default,
    isProtected: row.is_protected,
    logicalBytes: row.logical_bytes === null ? null : Number(row.logical_bytes),
    initSource: row.init_source,
    parentLsn: row.parent_lsn,
    parentTimestamp: row.parent_timestamp,
    expiresAt: row.expires_at,
    ttlSeconds: row.ttl_seconds,
    lastResetAt: row.last_reset_at,
    restoredFrom: row.restored_from as SnapshotId | null,
    restoredAs: row.restored_as as BranchId | null,
    restoreStatus: row.restore_status,
    deletedAt: row.deleted_at,
    recoverableUntil: row.purge_at,
    annotations: row.annotations,
    createdByName: row.created_by_name,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
