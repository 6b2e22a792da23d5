import { sql, type Kysely, type Transaction } from 'kysely';
import type { BranchId } from '@tenantry/contract/ids.ts';
import type { Moment } from '../../host/host.ts';
import type { BranchesTable, Tables } from '../../metadata/tables.ts';

/** What is written to the rows of branches. */

export interface NewBranch {
  readonly id: BranchId;
  readonly projectId: string;
  readonly name: string;
  readonly creatorUserId: string;
  readonly isDefault?: boolean;
  /** Undefined: a root branch. */
  readonly parentId?: string | undefined;
  readonly initSource?: BranchesTable['init_source']['__select__'];
  readonly isProtected?: boolean;
  readonly expiration?: Expiration | undefined;
  /** The branch's own id unless given. */
  readonly volumeId?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Expiration {
  readonly expiresAt: Date;
  /** From when it was set. */
  readonly ttlSeconds: number;
}

/** In state `init`: its volume is still to be made. */
export async function insertBranch(tx: Transaction<Tables>, branch: NewBranch): Promise<void> {
  await tx
    .insertInto('branches')
    .values({
      id: branch.id,
      project_id: branch.projectId,
      parent_id: branch.parentId ?? null,
      name: branch.name,
      state: 'init',
      pending_state: 'ready',
      is_default: branch.isDefault ?? false,
      is_protected: branch.isProtected ?? false,
      init_source: branch.initSource ?? 'parent-data',
      expires_at: branch.expiration?.expiresAt ?? null,
      ttl_seconds: branch.expiration?.ttlSeconds ?? null,
      volume_id: branch.volumeId ?? branch.id,
      creator_user_id: branch.creatorUserId,
    })
    .execute();
  await setAnnotations(tx, branch.id, branch.annotations ?? {});
}

/** In place of those that there are. */
export async function setAnnotations(
  tx: Transaction<Tables>,
  branchId: string,
  annotations: Readonly<Record<string, string>>,
): Promise<void> {
  await tx.deleteFrom('branch_annotations').where('branch_id', '=', branchId).execute();
  const rows = Object.entries(annotations).map(([key, value]) => ({ branch_id: branchId, key, value }));
  if (rows.length > 0) await tx.insertInto('branch_annotations').values(rows).execute();
}

/** Where on its parent a branch began, as the host has found it. */
export async function setOrigin(db: Kysely<Tables>, branchId: string, { lsn, time }: Moment): Promise<void> {
  const set = { parent_lsn: lsn, parent_timestamp: time };
  await db.updateTable('branches').set(set).where('id', '=', branchId).execute();
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

/** Invisible but for recovery, and its name is free. */
export async function markBranchDeleted(
  tx: Transaction<Tables>,
  branchId: string,
  { now, purgeAt }: { readonly now: Date; readonly purgeAt: Date },
): Promise<void> {
  const set = { deleted_at: now, purge_at: purgeAt, updated_at: now };
  await tx.updateTable('branches').set(set).where('id', '=', branchId).execute();
}

export async function markBranchRecovered(tx: Transaction<Tables>, branchId: string, name: string): Promise<void> {
  await tx
    .updateTable('branches')
    .set({
      name,
      deleted_at: null,
      purge_at: null,
      expires_at: null,
      ttl_seconds: null,
      updated_at: sql`now()`,
    })
    .where('id', '=', branchId)
    .execute();
}
