import type { Transaction } from 'kysely';
import type { Secret } from '../../kernel/secret.ts';
import type { Tables } from '../../metadata/tables.ts';
import { pasteCatalog, readCatalog, sealFor } from '../catalog/catalog-copy.ts';
import { newRoleSecret, type NewRoleSecret } from '../roles/new-role-secret.ts';
import type { PasswordBox } from '../roles/password-box.ts';

interface CatalogToCopy {
  readonly fromBranchId: string;
  readonly toBranchId: string;
  readonly passwords: PasswordBox;
  /** Roles that may log in get new passwords; undefined: they keep theirs. */
  readonly renewal: { readonly storePasswords: boolean } | undefined;
}

/**
 * Gives a new branch the roles and databases that another has now. Those that were not there at its moment leave the
 * rows with the first report of its compute.
 * @returns the new passwords by role
 */
export async function copyCatalog(
  tx: Transaction<Tables>,
  { fromBranchId, toBranchId, passwords, renewal }: CatalogToCopy,
): Promise<ReadonlyMap<string, Secret>> {
  const copy = sealFor(passwords, await readCatalog(tx, fromBranchId), toBranchId);
  const renewed = new Map<string, NewRoleSecret>();
  if (renewal) {
    for (const { name, noLogin } of copy.roles) {
      if (!noLogin) renewed.set(name, newRoleSecret(passwords, { branchId: toBranchId, role: name }, renewal));
    }
  }
  const sealed = (secret: NewRoleSecret): string | null => secret.passwordEncrypted?.toString('base64') ?? null;
  await pasteCatalog(tx, {
    ...copy,
    roles: copy.roles.map((role) => {
      const secret = renewed.get(role.name);
      return secret && role.verifier !== null ? { ...role, verifier: secret.verifier, password: sealed(secret) } : role;
    }),
    pending: copy.pending.map((order) => {
      const secret = order.change.kind === 'put_role' ? renewed.get(order.change.name) : undefined;
      return order.change.kind === 'put_role' && secret
        ? { ...order, change: { ...order.change, verifier: secret.verifier }, password: sealed(secret) }
        : order;
    }),
  });
  return new Map([...renewed].map(([name, { password }]) => [name, password]));
}
