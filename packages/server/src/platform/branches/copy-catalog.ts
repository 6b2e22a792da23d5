import type { Transaction } from 'kysely';
import type { Secret } from '../../kernel/secret.ts';
import type { Tables } from '../../metadata/tables.ts';
import { pasteCatalog, readCatalog, sealFor, type CatalogCopy, type RoleCopy } from '../catalog/catalog-copy.ts';
import { newRoleSecret, type NewRoleSecret } from '../roles/new-role-secret.ts';
import type { PasswordBox } from '../roles/password-box.ts';

type PendingCopy = CatalogCopy['pending'][number];

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
  const secrets = new Map<string, NewRoleSecret>();
  if (renewal) {
    for (const { name, noLogin } of copy.roles) {
      if (!noLogin) secrets.set(name, newRoleSecret(passwords, { branchId: toBranchId, role: name }, renewal));
    }
  }
  await pasteCatalog(tx, {
    ...copy,
    roles: copy.roles.map((role) => withNewPassword(role, secrets)),
    pending: copy.pending.map((order) => withNewVerifier(order, secrets)),
  });
  return new Map([...secrets].map(([name, { password }]) => [name, password]));
}

type Secrets = ReadonlyMap<string, NewRoleSecret>;

function withNewPassword(role: RoleCopy, secrets: Secrets): RoleCopy {
  const secret = secrets.get(role.name);
  if (!secret || role.verifier === null) return role;
  return { ...role, verifier: secret.verifier, password: toBase64(secret) };
}

function withNewVerifier(order: PendingCopy, secrets: Secrets): PendingCopy {
  const { change } = order;
  const secret = change.kind === 'put_role' ? secrets.get(change.name) : undefined;
  if (change.kind !== 'put_role' || !secret) return order;
  return { ...order, change: { ...change, verifier: secret.verifier }, password: toBase64(secret) };
}

const toBase64 = ({ passwordEncrypted }: NewRoleSecret): string | null => passwordEncrypted?.toString('base64') ?? null;
