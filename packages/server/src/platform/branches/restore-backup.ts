import { sql, type Transaction } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';

/** True of a branch that keeps what another was before a restore. It is deleted like any other, also as a root. */
export async function isBackup(tx: Transaction<Tables>, branchId: string): Promise<boolean> {
  const row = await tx.selectFrom('branches').select('backup_of').where('id', '=', branchId).executeTakeFirst();
  return row !== undefined && row.backup_of !== null;
}

/**
 * Before the deletion of a backup: the branch that was restored from it, and other backups of that one, become children
 * of its own parent. Else no backup of the default branch could ever be deleted. Their volumes need nothing of it.
 */
export async function handOnRestored(tx: Transaction<Tables>, branchId: string): Promise<void> {
  await sql`
    update branches c
    set parent_id = b.parent_id, parent_lsn = b.parent_lsn, parent_timestamp = b.parent_timestamp
    from branches b
    where b.id = ${branchId} and b.backup_of is not null and c.parent_id = b.id
      and (c.id = b.backup_of or c.backup_of = b.backup_of)`.execute(tx);
}
