import { sql, type Kysely, type Selectable, type Transaction } from 'kysely';
import type { BranchId, SnapshotId } from '@tenantry/contract/ids.ts';
import type { Moment } from '../../host/host.ts';
import type { SnapshotsTable, Tables } from '../../metadata/tables.ts';
import type { CatalogCopy } from '../catalog/catalog-copy.ts';
import { exactTime } from '../exact-time.ts';
import type { Snapshot } from '../platform.ts';

/** A snapshot with what is needed to make a branch of it. */
export interface SnapshotRow extends Snapshot {
  readonly volumeId: string;
  /** `init`: its volume is still to be made. */
  readonly state: 'init' | 'ready';
  readonly catalog: CatalogCopy;
}

/** Newest first. */
export async function listSnapshotRows(db: Kysely<Tables>, projectId: string): Promise<readonly SnapshotRow[]> {
  const rows = await db
    .selectFrom('snapshots')
    .selectAll()
    .select(exactTime('snapshot_timestamp').as('exact_timestamp'))
    .where('project_id', '=', projectId)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .execute();
  return rows.map(toSnapshotRow);
}

export async function findSnapshotRow(
  db: Kysely<Tables>,
  projectId: string,
  snapshotId: string,
): Promise<SnapshotRow | undefined> {
  const row = await db
    .selectFrom('snapshots')
    .selectAll()
    .select(exactTime('snapshot_timestamp').as('exact_timestamp'))
    .where('project_id', '=', projectId)
    .where('id', '=', snapshotId)
    .executeTakeFirst();
  return row && toSnapshotRow(row);
}

export async function countManualSnapshots(db: Kysely<Tables>, projectId: string): Promise<number> {
  const { count } = await db
    .selectFrom('snapshots')
    .select((e) => e.fn.countAll<string>().as('count'))
    .where('project_id', '=', projectId)
    .where('is_manual', '=', true)
    .executeTakeFirstOrThrow();
  return Number(count);
}

export async function hasSnapshotName(tx: Transaction<Tables>, projectId: string, name: string): Promise<boolean> {
  const row = await tx
    .selectFrom('snapshots')
    .select('id')
    .where('project_id', '=', projectId)
    .where('name', '=', name)
    .executeTakeFirst();
  return row !== undefined;
}

export interface NewSnapshot {
  readonly id: SnapshotId;
  readonly projectId: string;
  readonly sourceBranchId: string;
  readonly name: string;
  readonly volumeId: string;
  readonly isManual: boolean;
  readonly catalog: CatalogCopy;
  readonly expiresAt: Date | null;
}

export async function insertSnapshot(tx: Transaction<Tables>, snapshot: NewSnapshot): Promise<void> {
  await tx
    .insertInto('snapshots')
    .values({
      id: snapshot.id,
      project_id: snapshot.projectId,
      source_branch_id: snapshot.sourceBranchId,
      name: snapshot.name,
      volume_id: snapshot.volumeId,
      is_manual: snapshot.isManual,
      catalog: JSON.stringify(snapshot.catalog),
      expires_at: snapshot.expiresAt,
    })
    .execute();
}

export async function markSnapshotReady(
  db: Kysely<Tables>,
  snapshotId: string,
  { moment, fullBytes }: { readonly moment: Moment; readonly fullBytes: number },
): Promise<void> {
  await db
    .updateTable('snapshots')
    .set({ state: 'ready', lsn: moment.lsn, snapshot_timestamp: moment.time, full_bytes: fullBytes })
    .where('id', '=', snapshotId)
    .execute();
}

export async function updateSnapshotRow(
  tx: Transaction<Tables>,
  snapshotId: string,
  { name, expiresAt }: { readonly name?: string; readonly expiresAt?: Date | null },
): Promise<void> {
  if (name === undefined && expiresAt === undefined) return;
  await tx
    .updateTable('snapshots')
    .set({ ...(name !== undefined && { name }), ...(expiresAt !== undefined && { expires_at: expiresAt }) })
    .where('id', '=', snapshotId)
    .execute();
}

/** Nobody deletes it until the commit. False if it is gone. */
export async function holdSnapshotRow(tx: Transaction<Tables>, snapshotId: string): Promise<boolean> {
  const row = await tx.selectFrom('snapshots').select('id').where('id', '=', snapshotId).forShare().executeTakeFirst();
  return row !== undefined;
}

/** Locks it, so that nobody begins to restore it; true if a restore of it has not ended yet. */
export async function isBeingRestored(tx: Transaction<Tables>, snapshotId: string): Promise<boolean> {
  await tx.selectFrom('snapshots').select('id').where('id', '=', snapshotId).forUpdate().execute();
  const branch = await tx
    .selectFrom('branches')
    .select('id')
    .where('restored_from', '=', snapshotId)
    .where('state', '=', 'init')
    .executeTakeFirst();
  return branch !== undefined;
}

/** @returns its volume, which is to be removed from the host; undefined if there was no such snapshot */
export async function deleteSnapshotRow(tx: Transaction<Tables>, snapshotId: string): Promise<string | undefined> {
  const row = await tx.deleteFrom('snapshots').where('id', '=', snapshotId).returning('volume_id').executeTakeFirst();
  return row?.volume_id;
}

/** Those whose time has come, the oldest first. */
export async function listExpiredSnapshots(
  db: Kysely<Tables>,
  now: Date,
  limit: number,
): Promise<readonly { readonly id: string; readonly projectId: string; readonly branchId: string }[]> {
  const { rows } = await sql<{ id: string; projectId: string; branchId: string }>`
    select s.id, s.project_id as "projectId", s.source_branch_id as "branchId"
    from snapshots s join projects p on p.id = s.project_id and p.deleted_at is null
    where s.expires_at <= ${now} order by s.expires_at, s.id limit ${limit}`.execute(db);
  return rows;
}

/** For clients: without catalog and volume. */
export const toSnapshot = ({
  volumeId: _volume,
  state: _state,
  catalog: _catalog,
  ...snapshot
}: SnapshotRow): Snapshot => snapshot;

function toSnapshotRow(row: Selectable<SnapshotsTable> & { readonly exact_timestamp: string | null }): SnapshotRow {
  return {
    id: row.id as SnapshotId,
    projectId: row.project_id,
    name: row.name,
    lsn: row.lsn,
    timestamp: row.exact_timestamp,
    sourceBranchId: row.source_branch_id as BranchId,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    isManual: row.is_manual,
    fullBytes: row.full_bytes === null ? null : Number(row.full_bytes),
    volumeId: row.volume_id,
    state: row.state,
    catalog: row.catalog as unknown as CatalogCopy,
  };
}
