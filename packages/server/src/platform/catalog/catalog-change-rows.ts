import { sql, type Kysely, type Transaction } from 'kysely';
import { must } from '../../kernel/assert.ts';
import type { Tables } from '../../metadata/tables.ts';
import type { CatalogUndo, UnnumberedChange } from './catalog-change.ts';

export interface NewCatalogChange {
  readonly change: UnnumberedChange;
  readonly undo: CatalogUndo;
  /** Of put_role. */
  readonly passwordEncrypted?: Buffer | null;
}

/** Gives the change the branch's next number. The branch's row is locked until the commit. */
export async function insertCatalogChange(
  tx: Transaction<Tables>,
  branchId: string,
  { change, undo, passwordEncrypted = null }: NewCatalogChange,
): Promise<number> {
  const branch = await tx
    .updateTable('branches')
    .set((e) => ({ catalog_seq: sql`${e.ref('catalog_seq')} + 1` as never }))
    .where('id', '=', branchId)
    .returning('catalog_seq')
    .executeTakeFirst();
  const seq = Number(must(branch, 'the branch is locked').catalog_seq);
  await tx
    .insertInto('catalog_changes')
    .values({
      branch_id: branchId,
      seq,
      change: JSON.stringify(change),
      undo: JSON.stringify(undo),
      password_encrypted: passwordEncrypted,
    })
    .execute();
  return seq;
}

export interface PendingChange {
  readonly seq: number;
  readonly change: UnnumberedChange;
  readonly undo: CatalogUndo;
  readonly passwordEncrypted: Buffer | null;
}

/**
 * Changes that are still pending, up to and including `maxSeq`, in order. Locks the branch's row first, as ordering a
 * change does, so that changes of one branch are settled one after another.
 */
export async function lockPendingChanges(
  tx: Transaction<Tables>,
  branchId: string,
  maxSeq: number,
): Promise<readonly PendingChange[]> {
  await lockBranch(tx, branchId);
  const rows = await tx
    .selectFrom('catalog_changes')
    .select(['seq', 'change', 'undo', 'password_encrypted'])
    .where('branch_id', '=', branchId)
    .where('state', '=', 'pending')
    .where('seq', '<=', sql<string>`${maxSeq}`)
    .orderBy('seq')
    .execute();
  return rows.map((row) => ({
    seq: Number(row.seq),
    change: row.change as UnnumberedChange,
    undo: row.undo as CatalogUndo,
    passwordEncrypted: row.password_encrypted,
  }));
}

/**
 * True if the branch exists. Whoever changes roles or databases of a branch takes this lock before any other row's.
 * Not `for update`: the foreign key checks of those who hold an endpoint's row would wait for it, and it for them.
 */
export async function lockBranch(tx: Transaction<Tables>, branchId: string): Promise<boolean> {
  const row = await tx
    .selectFrom('branches')
    .select('id')
    .where('id', '=', branchId)
    .forNoKeyUpdate()
    .executeTakeFirst();
  return row !== undefined;
}

/** Forgets the secrets of changes that need not be applied any more. */
export async function markSettled(
  tx: Transaction<Tables>,
  branchId: string,
  seqs: readonly number[],
  state: 'applied' | 'refused',
): Promise<void> {
  await sql`
    update catalog_changes
    set state = ${state}, settled_at = now(), change = change - 'verifier', password_encrypted = null
    where branch_id = ${branchId} and seq = any(${seqs}::bigint[]) and state = 'pending'`.execute(tx);
}

/** Notes that the host has applied all that was ordered up to `seq`. */
export async function raiseSettledSeq(tx: Transaction<Tables>, branchId: string, seq: number): Promise<void> {
  await sql`update branches set catalog_settled_seq = greatest(catalog_settled_seq, least(${seq}::bigint, catalog_seq))
    where id = ${branchId}`.execute(tx);
}

/** What is known of the order of a branch's changes. */
export async function getCatalogProgress(
  db: Kysely<Tables>,
  branchId: string,
): Promise<{ readonly hasPending: boolean; readonly settledSeq: number }> {
  const { rows } = await sql<{ has_pending: boolean; settled_seq: string }>`
    select b.catalog_settled_seq as settled_seq,
      exists (select from catalog_changes c where c.branch_id = b.id and c.state = 'pending') as has_pending
    from branches b where b.id = ${branchId}`.execute(db);
  return { hasPending: rows[0]?.has_pending ?? true, settledSeq: Number(rows[0]?.settled_seq ?? 0) };
}

/** Number of the branch's last change that is pending; 0 if none is. */
export async function findLastPendingSeq(db: Kysely<Tables>, branchId: string): Promise<number> {
  const { rows } = await sql<{ seq: string | null }>`
    select max(seq) as seq from catalog_changes where branch_id = ${branchId} and state = 'pending'`.execute(db);
  return Number(rows[0]?.seq ?? 0);
}
