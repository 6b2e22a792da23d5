import { sql, type Selectable, type Transaction } from 'kysely';
import type { Moment } from '../../host/host.ts';
import type { BranchesTable, Tables } from '../../metadata/tables.ts';
import { exactTime } from '../exact-time.ts';

type Row = Selectable<BranchesTable> & { readonly exact_parent_timestamp: string | null };

/** Locked until the commit; undefined if there is none. */
export async function lockBranchRow(tx: Transaction<Tables>, branchId: string): Promise<Row | undefined> {
  return tx
    .selectFrom('branches')
    .selectAll()
    .select(exactTime('parent_timestamp').as('exact_parent_timestamp'))
    .where('id', '=', branchId)
    .forNoKeyUpdate()
    .executeTakeFirst();
}

export async function markResetting(tx: Transaction<Tables>, branchId: string): Promise<void> {
  await tx
    .updateTable('branches')
    .set({ state: 'resetting', pending_state: 'ready', state_changed_at: sql`now()`, updated_at: sql`now()` })
    .where('id', '=', branchId)
    .execute();
}

/** After a restore that has come to nothing: the branch is as it was, and its backup was never. */
export async function undoRestore(tx: Transaction<Tables>, branchId: string, backupId: string | null): Promise<void> {
  await tx
    .updateTable('branches')
    .set({ state: 'ready', pending_state: null, state_changed_at: sql`now()` })
    .where('id', '=', branchId)
    .where('state', '=', 'resetting')
    .execute();
  if (backupId !== null) await tx.deleteFrom('branches').where('id', '=', backupId).execute();
}

/** Makes the reserved row of the backup what the branch was, with its volume and its children. */
export async function fillBackup(tx: Transaction<Tables>, backupId: string, before: Row): Promise<void> {
  await tx
    .updateTable('branches')
    .set({
      volume_id: before.volume_id,
      backup_of: before.id,
      state: 'ready',
      pending_state: null,
      parent_id: before.parent_id,
      parent_lsn: before.parent_lsn,
      parent_timestamp: before.exact_parent_timestamp,
      init_source: before.init_source,
      logical_bytes: before.logical_bytes === null ? null : Number(before.logical_bytes),
      state_changed_at: sql`now()`,
    })
    .where('id', '=', backupId)
    .execute();
  await tx
    .updateTable('branches')
    .set({ parent_id: backupId })
    .where('parent_id', '=', before.id)
    .where('id', '!=', backupId)
    .execute();
}

export interface Restored {
  readonly volumeId: string;
  readonly parentId: string;
  readonly moment: Moment;
  readonly logicalBytes: string | null;
  /** A reset from the parent: its time, from which the branch's time to live starts anew. */
  readonly resetAt: Date | null;
}

/** The branch's data is another volume's from now on. */
export async function setRestored(tx: Transaction<Tables>, before: Row, restored: Restored): Promise<void> {
  const { volumeId, parentId, moment, logicalBytes, resetAt } = restored;
  await tx
    .updateTable('branches')
    .set({
      volume_id: volumeId,
      parent_id: parentId,
      parent_lsn: moment.lsn,
      parent_timestamp: moment.time,
      init_source: 'parent-data',
      logical_bytes: logicalBytes === null ? null : Number(logicalBytes),
      state: 'ready',
      pending_state: null,
      state_changed_at: sql`now()`,
      updated_at: sql`now()`,
      ...(resetAt && { last_reset_at: resetAt }),
      ...(resetAt && before.ttl_seconds !== null && { expires_at: addSeconds(resetAt, before.ttl_seconds) }),
    })
    .where('id', '=', before.id)
    .execute();
}

const addSeconds = (time: Date, seconds: number): Date => new Date(time.getTime() + seconds * 1000);
