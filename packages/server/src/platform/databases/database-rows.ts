import { sql, type Kysely, type Transaction } from 'kysely';
import type { BranchId } from '@tenantry/contract/ids.ts';
import type { Tables } from '../../metadata/tables.ts';
import { isCatalogName } from '../catalog/catalog-name.ts';
import type { Database } from '../platform.ts';

export interface DatabaseRow extends Database {
  readonly isDeleting: boolean;
}

const COLUMNS = ['id', 'branch_id', 'name', 'owner_name', 'is_deleting', 'created_at', 'updated_at'] as const;

const select = (db: Kysely<Tables>, branchId: string) =>
  db.selectFrom('databases').select(COLUMNS).where('branch_id', '=', branchId);

/** By name, also those that are being dropped. */
export async function listDatabaseRows(db: Kysely<Tables>, branchId: string): Promise<readonly DatabaseRow[]> {
  return (await select(db, branchId).orderBy('name').execute()).map(toRow);
}

/** Also one that is being dropped. */
export async function findDatabaseRow(
  db: Kysely<Tables>,
  branchId: string,
  name: string,
): Promise<DatabaseRow | undefined> {
  if (!isCatalogName(name)) return undefined;
  const row = await select(db, branchId).where('name', '=', name).executeTakeFirst();
  return row && toRow(row);
}

export async function findDatabaseNameOwnedBy(
  db: Kysely<Tables>,
  branchId: string,
  ownerName: string,
): Promise<string | undefined> {
  const row = await db
    .selectFrom('databases')
    .select('name')
    .where('branch_id', '=', branchId)
    .where('owner_name', '=', ownerName)
    .orderBy('name')
    .executeTakeFirst();
  return row?.name;
}

export async function insertDatabase(
  tx: Transaction<Tables>,
  database: { readonly branchId: string; readonly name: string; readonly ownerName: string },
): Promise<DatabaseRow> {
  const row = await tx
    .insertInto('databases')
    .values({ branch_id: database.branchId, name: database.name, owner_name: database.ownerName })
    .returning(COLUMNS)
    .executeTakeFirstOrThrow();
  return toRow(row);
}

export async function updateDatabaseRow(
  tx: Transaction<Tables>,
  database: { readonly id: string; readonly name: string; readonly ownerName: string },
): Promise<DatabaseRow> {
  const row = await tx
    .updateTable('databases')
    .set({ name: database.name, owner_name: database.ownerName, updated_at: sql`now()` })
    .where('id', '=', database.id)
    .returning(COLUMNS)
    .executeTakeFirstOrThrow();
  return toRow(row);
}

/** Back to the old name; if another row has taken that, the row goes: what the compute reports brings it back. */
export async function restoreDatabaseRow(
  tx: Transaction<Tables>,
  database: { readonly branchId: string; readonly id: string; readonly name: string; readonly ownerName: string },
): Promise<void> {
  const holder = await findDatabaseRow(tx, database.branchId, database.name);
  if (holder && String(holder.id) !== database.id) return deleteDatabaseRow(tx, database.id);
  await tx
    .updateTable('databases')
    .set({ name: database.name, owner_name: database.ownerName, updated_at: sql`now()` })
    .where('id', '=', database.id)
    .execute();
}

export async function setDatabaseDeleting(tx: Transaction<Tables>, id: string, isDeleting: boolean): Promise<void> {
  await tx.updateTable('databases').set({ is_deleting: isDeleting }).where('id', '=', id).execute();
}

export async function deleteDatabaseRow(tx: Transaction<Tables>, id: string): Promise<void> {
  await tx.deleteFrom('databases').where('id', '=', id).execute();
}

export const toDatabase = ({ id, branchId, name, ownerName, createdAt, updatedAt }: Database): Database => ({
  id,
  branchId,
  name,
  ownerName,
  createdAt,
  updatedAt,
});

interface SelectedRow {
  readonly id: string;
  readonly branch_id: string;
  readonly name: string;
  readonly owner_name: string;
  readonly is_deleting: boolean;
  readonly created_at: Date;
  readonly updated_at: Date;
}

const toRow = (row: SelectedRow): DatabaseRow => ({
  id: Number(row.id),
  branchId: row.branch_id as BranchId,
  name: row.name,
  ownerName: row.owner_name,
  isDeleting: row.is_deleting,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});
