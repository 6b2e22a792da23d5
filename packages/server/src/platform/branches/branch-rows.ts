import { sql, type Kysely, type Transaction } from 'kysely';
import type { BranchId } from '@tenantry/contract/ids.ts';
import type { Tables } from '../../metadata/tables.ts';
import type { Branch } from '../platform.ts';

/** All of a branch but its usage, which `usage` knows. */
export type BranchRow = Omit<Branch, 'usage'>;

const select = (db: Kysely<Tables>, projectId: string) =>
  db
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
      'branches.created_at',
      'branches.updated_at',
      'users.name as created_by_name',
    ])
    .where('branches.project_id', '=', projectId);

/** All of a project, oldest first: a project has thousands at most. */
export async function listBranchRows(db: Kysely<Tables>, projectId: string): Promise<readonly BranchRow[]> {
  const rows = await select(db, projectId).orderBy('branches.created_at').orderBy('branches.id').execute();
  return rows.map(toBranch);
}

export async function findBranchRow(
  db: Kysely<Tables>,
  projectId: string,
  branchId: string,
): Promise<BranchRow | undefined> {
  const row = await select(db, projectId).where('branches.id', '=', branchId).executeTakeFirst();
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

export interface NewBranch {
  readonly id: BranchId;
  readonly projectId: string;
  readonly name: string;
  readonly creatorUserId: string;
}

/** The root branch of a new project; its volume bears its id. */
export async function insertRootBranch(tx: Transaction<Tables>, branch: NewBranch): Promise<void> {
  await tx
    .insertInto('branches')
    .values({
      id: branch.id,
      project_id: branch.projectId,
      name: branch.name,
      state: 'init',
      pending_state: 'ready',
      is_default: true,
      volume_id: branch.id,
      creator_user_id: branch.creatorUserId,
    })
    .execute();
}

export async function markBranchReady(db: Kysely<Tables>, branchId: string): Promise<void> {
  await db
    .updateTable('branches')
    .set({ state: 'ready', pending_state: null, state_changed_at: sql`now()`, updated_at: sql`now()` })
    .where('id', '=', branchId)
    .where('state', '=', 'init')
    .execute();
}

export async function setLogicalBytes(db: Kysely<Tables>, branchId: string, logicalBytes: number): Promise<void> {
  await db
    .updateTable('branches')
    .set({ logical_bytes: logicalBytes })
    .where('id', '=', branchId)
    .where((e) => e.or([e('logical_bytes', 'is', null), e('logical_bytes', '!=', String(logicalBytes))]))
    .execute();
}

/** Volumes of all branches of a project, with the endpoints on them; also of one that is being deleted. */
export async function listVolumes(
  db: Kysely<Tables>,
  projectId: string,
): Promise<readonly { readonly branchId: string; readonly volumeId: string }[]> {
  return db
    .selectFrom('branches')
    .select(['id as branchId', 'volume_id as volumeId'])
    .where('project_id', '=', projectId)
    .orderBy('id')
    .execute();
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
    createdByName: row.created_by_name,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
