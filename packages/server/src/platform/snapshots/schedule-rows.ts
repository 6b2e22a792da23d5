import { sql, type Kysely, type Selectable, type Transaction } from 'kysely';
import type { SnapshotSchedulesTable, Tables } from '../../metadata/tables.ts';
import type { SnapshotScheduleItem } from '../platform.ts';
import { nextRunAt } from './schedule.ts';

/** In the order that they were given. */
export async function listScheduleItems(
  db: Kysely<Tables>,
  branchId: string,
): Promise<readonly SnapshotScheduleItem[]> {
  const rows = await db
    .selectFrom('snapshot_schedules')
    .selectAll()
    .where('branch_id', '=', branchId)
    .orderBy('item')
    .execute();
  return rows.map(toItem);
}

/** In place of what there is. */
export async function replaceSchedule(
  tx: Transaction<Tables>,
  branchId: string,
  { items, now }: { readonly items: readonly SnapshotScheduleItem[]; readonly now: Date },
): Promise<void> {
  await tx.deleteFrom('snapshot_schedules').where('branch_id', '=', branchId).execute();
  if (items.length === 0) return;
  const rows = items.map((item, i) => ({
    branch_id: branchId,
    item: i,
    frequency: item.frequency,
    hour: item.hour ?? null,
    day: item.day ?? null,
    month: item.month ?? null,
    retention_seconds: item.retentionSeconds ?? null,
    next_run_at: nextRunAt(item, now),
  }));
  await tx.insertInto('snapshot_schedules').values(rows).execute();
}

export interface DueItem {
  readonly projectId: string;
  readonly branchId: string;
  readonly item: number;
}

/** Items whose time has come, of branches that stand still, the longest overdue first. */
export async function listDueItems(db: Kysely<Tables>, now: Date, limit: number): Promise<readonly DueItem[]> {
  const { rows } = await sql<DueItem>`
    select b.project_id as "projectId", s.branch_id as "branchId", s.item
    from snapshot_schedules s
    join branches b on b.id = s.branch_id and b.state = 'ready' and b.deleted_at is null
    join projects p on p.id = b.project_id and p.deleted_at is null
    where s.next_run_at <= ${now} order by s.next_run_at, s.branch_id, s.item limit ${limit}`.execute(db);
  return rows;
}

/**
 * Takes a due item: nobody else sees it as due once this commits. However many runs it has missed, it is due once.
 * Undefined if another took it, or it is no more.
 */
export async function claimDueItem(
  tx: Transaction<Tables>,
  { branchId, item }: DueItem,
  now: Date,
): Promise<SnapshotScheduleItem | undefined> {
  const row = await tx
    .selectFrom('snapshot_schedules')
    .selectAll()
    .where('branch_id', '=', branchId)
    .where('item', '=', item)
    .where('next_run_at', '<=', now)
    .forUpdate()
    .executeTakeFirst();
  if (!row) return undefined;
  const due = toItem(row);
  await tx
    .updateTable('snapshot_schedules')
    .set({ next_run_at: nextRunAt(due, now) })
    .where('branch_id', '=', branchId)
    .where('item', '=', item)
    .execute();
  return due;
}

const toItem = (row: Selectable<SnapshotSchedulesTable>): SnapshotScheduleItem => ({
  frequency: row.frequency,
  ...(row.hour !== null && { hour: row.hour }),
  ...(row.day !== null && { day: row.day }),
  ...(row.month !== null && { month: row.month }),
  ...(row.retention_seconds !== null && { retentionSeconds: row.retention_seconds }),
});
