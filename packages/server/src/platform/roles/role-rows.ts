import { sql, type Kysely, type Transaction } from 'kysely';
import type { BranchId } from '@tenantry/contract/ids.ts';
import type { Tables } from '../../metadata/tables.ts';
import { isCatalogName } from '../catalog/catalog-name.ts';
import type { Role } from '../platform.ts';

/** A role with what authenticates it; does not leave this folder but for `catalog`. */
export interface RoleRow extends Role {
  readonly passwordEncrypted: Buffer | null;
  readonly noLogin: boolean;
  readonly isDeleting: boolean;
}

const COLUMNS = [
  'branch_id',
  'name',
  'password_encrypted',
  'no_login',
  'is_protected',
  'is_deleting',
  'created_at',
  'updated_at',
] as const;

const select = (db: Kysely<Tables>, branchId: string) =>
  db.selectFrom('roles').select(COLUMNS).where('branch_id', '=', branchId);

/** By name, without those that are being dropped. */
export async function listRoleRows(db: Kysely<Tables>, branchId: string): Promise<readonly Role[]> {
  const rows = await select(db, branchId).where('is_deleting', '=', false).orderBy('name').execute();
  return rows.map((row) => toRole(toRow(row)));
}

/** Also one that is being dropped. */
export async function findRoleRow(db: Kysely<Tables>, branchId: string, name: string): Promise<RoleRow | undefined> {
  if (!isCatalogName(name)) return undefined;
  const row = await select(db, branchId).where('name', '=', name).executeTakeFirst();
  return row && toRow(row);
}

export async function countRoles(db: Kysely<Tables>, branchId: string): Promise<number> {
  const { count } = await db
    .selectFrom('roles')
    .select((e) => e.fn.countAll<string>().as('count'))
    .where('branch_id', '=', branchId)
    .executeTakeFirstOrThrow();
  return Number(count);
}

export interface NewRole {
  readonly branchId: string;
  readonly name: string;
  readonly noLogin?: boolean;
  /** Null: it cannot log in before its creation is settled. */
  readonly verifier?: string | null;
  readonly passwordEncrypted?: Buffer | null;
}

export async function insertRole(tx: Transaction<Tables>, role: NewRole): Promise<void> {
  await tx
    .insertInto('roles')
    .values({
      branch_id: role.branchId,
      name: role.name,
      no_login: role.noLogin ?? false,
      verifier: role.verifier ?? null,
      password_encrypted: role.passwordEncrypted ?? null,
    })
    .execute();
}

export interface RoleSecret {
  readonly branchId: string;
  readonly name: string;
  readonly verifier: string | null;
  readonly passwordEncrypted: Buffer | null;
}

/** A role that may not log in stays without. */
export async function setRoleSecret(tx: Transaction<Tables>, secret: RoleSecret): Promise<void> {
  await tx
    .updateTable('roles')
    .set({ verifier: secret.verifier, password_encrypted: secret.passwordEncrypted, updated_at: sql`now()` })
    .where('branch_id', '=', secret.branchId)
    .where('name', '=', secret.name)
    .where('no_login', '=', false)
    .execute();
}

export async function setRoleDeleting(
  tx: Transaction<Tables>,
  { branchId, name, isDeleting }: { readonly branchId: string; readonly name: string; readonly isDeleting: boolean },
): Promise<void> {
  await tx
    .updateTable('roles')
    .set({ is_deleting: isDeleting })
    .where('branch_id', '=', branchId)
    .where('name', '=', name)
    .execute();
}

export async function deleteRoleRow(tx: Transaction<Tables>, branchId: string, name: string): Promise<void> {
  await tx.deleteFrom('roles').where('branch_id', '=', branchId).where('name', '=', name).execute();
}

/** For the comparison with what a compute has. */
export async function listRoleVerifiers(
  db: Kysely<Tables>,
  branchId: string,
): Promise<ReadonlyMap<string, { readonly verifier: string | null; readonly noLogin: boolean }>> {
  const rows = await db
    .selectFrom('roles')
    .select(['name', 'verifier', 'no_login'])
    .where('branch_id', '=', branchId)
    .execute();
  return new Map(rows.map((row) => [row.name, { verifier: row.verifier, noLogin: row.no_login }]));
}

export const toRole = ({ branchId, name, isProtected, createdAt, updatedAt }: Role): Role => ({
  branchId,
  name,
  isProtected,
  createdAt,
  updatedAt,
});

interface SelectedRow {
  readonly branch_id: string;
  readonly name: string;
  readonly password_encrypted: Buffer | null;
  readonly no_login: boolean;
  readonly is_protected: boolean;
  readonly is_deleting: boolean;
  readonly created_at: Date;
  readonly updated_at: Date;
}

const toRow = (row: SelectedRow): RoleRow => ({
  branchId: row.branch_id as BranchId,
  name: row.name,
  passwordEncrypted: row.password_encrypted,
  noLogin: row.no_login,
  isProtected: row.is_protected,
  isDeleting: row.is_deleting,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});
