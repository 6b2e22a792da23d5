import { sql, type Transaction } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';
import type { PasswordBox } from '../roles/password-box.ts';
import { insertCatalogChange, lockPendingChanges, markSettled } from './catalog-change-rows.ts';
import type { CatalogUndo, UnnumberedChange } from './catalog-change.ts';

/** Roles, databases and pending changes of a branch, to be given to another one. JSON: a snapshot keeps it. */
export interface CatalogCopy {
  /** The passwords are sealed for this branch. */
  readonly branchId: string;
  readonly roles: readonly RoleCopy[];
  readonly databases: readonly DatabaseCopy[];
  readonly pending: readonly PendingCopy[];
}

export interface RoleCopy {
  readonly name: string;
  readonly verifier: string | null;
  /** Sealed, base64. */
  readonly password: string | null;
  readonly noLogin: boolean;
  readonly isProtected: boolean;
  readonly isDeleting: boolean;
}

interface DatabaseCopy {
  readonly id: string;
  readonly name: string;
  readonly ownerName: string;
  readonly isDeleting: boolean;
}

interface PendingCopy {
  readonly change: UnnumberedChange;
  readonly undo: CatalogUndo;
  readonly password: string | null;
}

/** What the rows say of a branch now. Locks the branch, so that all is of one moment. */
export async function readCatalog(tx: Transaction<Tables>, branchId: string): Promise<CatalogCopy> {
  const pending = await lockPendingChanges(tx, branchId, Number.MAX_SAFE_INTEGER);
  const roles = await tx.selectFrom('roles').selectAll().where('branch_id', '=', branchId).orderBy('name').execute();
  const databases = await tx
    .selectFrom('databases')
    .selectAll()
    .where('branch_id', '=', branchId)
    .orderBy('name')
    .execute();
  return {
    branchId,
    roles: roles.map((role) => ({
      name: role.name,
      verifier: role.verifier,
      password: toBase64(role.password_encrypted),
      noLogin: role.no_login,
      isProtected: role.is_protected,
      isDeleting: role.is_deleting,
    })),
    databases: databases.map((database) => ({
      id: database.id,
      name: database.name,
      ownerName: database.owner_name,
      isDeleting: database.is_deleting,
    })),
    pending: pending.map(({ change, undo, passwordEncrypted }) => ({
      change,
      undo,
      password: toBase64(passwordEncrypted),
    })),
  };
}

/** The same, with the passwords sealed for another branch. One that cannot be opened is left out. */
export function sealFor(passwords: PasswordBox, copy: CatalogCopy, branchId: string): CatalogCopy {
  const seal = (box: string | null, role: string): string | null => {
    const password = box === null ? undefined : passwords.decrypt(fromBase64(box), { branchId: copy.branchId, role });
    return password ? toBase64(passwords.encrypt(password, { branchId, role })) : null;
  };
  return {
    branchId,
    roles: copy.roles.map((role) => ({ ...role, password: seal(role.password, role.name) })),
    databases: copy.databases,
    pending: copy.pending.map((order) => ({ ...order, password: seal(order.password, order.change.name) })),
  };
}

/** Gives a branch that has none the roles and databases of a copy that is sealed for it. */
export async function pasteCatalog(tx: Transaction<Tables>, copy: CatalogCopy): Promise<void> {
  const { branchId, roles } = copy;
  if (roles.length > 0) {
    const rows = roles.map((role) => ({
      branch_id: branchId,
      name: role.name,
      verifier: role.verifier,
      password_encrypted: fromNullableBase64(role.password),
      no_login: role.noLogin,
      is_protected: role.isProtected,
      is_deleting: role.isDeleting,
    }));
    await tx.insertInto('roles').values(rows).execute();
  }
  const idsNow = new Map<string, string>();
  for (const { id, name, ownerName, isDeleting } of copy.databases) {
    const row = await tx
      .insertInto('databases')
      .values({ branch_id: branchId, name, owner_name: ownerName, is_deleting: isDeleting })
      .returning('id')
      .executeTakeFirstOrThrow();
    idsNow.set(id, row.id);
  }
  const pending = copy.pending.map((order) => ({ ...order, undo: withId(order.undo, idsNow) }));
  await orderCatalog(tx, { ...copy, pending });
}

/**
 * Orders what makes a volume of another moment have the passwords of the rows, and then again what was still pending:
 * a role whose password is about to change keeps its old one until then.
 */
export async function orderCatalog(tx: Transaction<Tables>, { branchId, roles, pending }: CatalogCopy): Promise<void> {
  for (const { name, verifier } of roles) {
    if (verifier === null) continue;
    await insertCatalogChange(tx, branchId, {
      change: { kind: 'keep_role', name, verifier },
      undo: { kind: 'nothing' },
    });
  }
  for (const { change, undo, password } of pending) {
    await insertCatalogChange(tx, branchId, { change, undo, passwordEncrypted: fromNullableBase64(password) });
  }
}

/** Takes back what is pending; the rows of roles and databases stay. */
export async function dropPending(tx: Transaction<Tables>, branchId: string): Promise<void> {
  const pending = await lockPendingChanges(tx, branchId, Number.MAX_SAFE_INTEGER);
  const seqs = pending.map((order) => order.seq);
  if (seqs.length > 0) await markSettled(tx, branchId, seqs, 'refused');
}

/** Leaves a branch without roles, databases and pending changes. */
export async function clearCatalog(tx: Transaction<Tables>, branchId: string): Promise<void> {
  await dropPending(tx, branchId);
  await tx.deleteFrom('roles').where('branch_id', '=', branchId).execute();
  await tx.deleteFrom('databases').where('branch_id', '=', branchId).execute();
}

/** The branch's next change gets a number above `seq`: an endpoint that comes to it has applied all up to that one. */
export async function raiseCatalogSeq(tx: Transaction<Tables>, branchId: string, seq: number): Promise<void> {
  await sql`update branches set catalog_seq = greatest(catalog_seq, ${seq}::bigint) where id = ${branchId}`.execute(tx);
}

/** What puts back a row of the copied branch is to put back its copy. */
function withId(undo: CatalogUndo, idsNow: ReadonlyMap<string, string>): CatalogUndo {
  if (!('id' in undo)) return undo;
  const id = idsNow.get(undo.id);
  return id === undefined ? { kind: 'nothing' } : { ...undo, id };
}

const toBase64 = (bytes: Buffer | null): string | null => bytes?.toString('base64') ?? null;
const fromBase64 = (text: string): Buffer => Buffer.from(text, 'base64');
const fromNullableBase64 = (text: string | null): Buffer | null => (text === null ? null : fromBase64(text));
