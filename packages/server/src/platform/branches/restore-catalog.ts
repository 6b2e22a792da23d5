import type { Transaction } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';
import {
  clearCatalog,
  dropPending,
  orderCatalog,
  pasteCatalog,
  readCatalog,
  sealFor,
  type CatalogCopy,
  type RoleCopy,
} from '../catalog/catalog-copy.ts';
import { getPasswordPolicy } from '../projects/password-policy.ts';
import { newRoleSecret } from '../roles/new-role-secret.ts';
import type { PasswordBox } from '../roles/password-box.ts';

interface RestoredCatalog {
  readonly projectId: string;
  /** What the branch had. */
  readonly before: CatalogCopy;
  /** May be the branch itself. */
  readonly source: { readonly id: string; readonly isProtected: boolean };
  readonly passwords: PasswordBox;
}

/**
 * Gives a restored branch the roles and databases of its source. What differs at the moment that it was restored to
 * comes with the first report of its compute. A branch that is restored from its own past keeps its passwords; so does
 * one that is restored from a protected branch, whose passwords are for that branch only.
 */
export async function restoreCatalog(
  tx: Transaction<Tables>,
  branchId: string,
  { projectId, before, source, passwords }: RestoredCatalog,
): Promise<void> {
  if (source.id === branchId) {
    await dropPending(tx, branchId);
    await orderCatalog(tx, before);
    return;
  }
  const copy = sealFor(passwords, await readCatalog(tx, source.id), branchId);
  await clearCatalog(tx, branchId);
  if (!source.isProtected) return pasteCatalog(tx, copy);
  const policy = await getPasswordPolicy(tx, projectId);
  const makeSecret = (role: string): Secret => {
    const { verifier, passwordEncrypted } = newRoleSecret(passwords, { branchId, role }, policy);
    return { verifier, password: passwordEncrypted?.toString('base64') ?? null };
  };
  await pasteCatalog(tx, withOwnPasswords(copy, before.roles, makeSecret));
}

interface Secret {
  readonly verifier: string;
  readonly password: string | null;
}

/** The copy with the passwords that the branch had, and new ones for roles that it had not. */
function withOwnPasswords(
  copy: CatalogCopy,
  own: readonly RoleCopy[],
  makeSecret: (role: string) => Secret,
): CatalogCopy {
  const secrets = new Map<string, Secret>();
  for (const { name, verifier, password } of own) if (verifier !== null) secrets.set(name, { verifier, password });
  const secretOf = (role: string): Secret => {
    const secret = secrets.get(role) ?? makeSecret(role);
    secrets.set(role, secret);
    return secret;
  };
  return {
    ...copy,
    roles: copy.roles.map((role) => (role.verifier === null ? role : { ...role, ...secretOf(role.name) })),
    pending: copy.pending.map((order) => {
      if (order.change.kind !== 'put_role') return order;
      const { verifier, password } = secretOf(order.change.name);
      return { ...order, change: { ...order.change, verifier }, password };
    }),
  };
}
