import type { Secret } from '../../kernel/secret.ts';
import type { PlatformContext } from '../context.ts';
import type { ConnectionInfo, Database, Endpoint, Role } from '../platform.ts';
import { toConnectionInfo } from '../projects/connection-uri.ts';
import { findRoleRow } from '../roles/role-rows.ts';

interface Connectable {
  readonly endpoints: readonly Endpoint[];
  readonly roles: readonly Role[];
  readonly databases: readonly Database[];
  /** Those that are new, by role. */
  readonly passwords: ReadonlyMap<string, Secret>;
}

/** How to connect to each endpoint, where it is clear as whom and to what: one role, one database, a known password. */
export async function connectionsOf(
  { metadata, settings, passwords: box }: PlatformContext,
  { endpoints, roles, databases, passwords }: Connectable,
): Promise<readonly ConnectionInfo[]> {
  const [role, ...otherRoles] = roles;
  const [database, ...otherDatabases] = databases;
  if (!role || !database || otherRoles.length + otherDatabases.length > 0 || endpoints.length === 0) return [];
  const { branchId, name } = role;
  const stored = (await findRoleRow(metadata, branchId, name))?.passwordEncrypted;
  const password = passwords.get(name) ?? (stored && box.decrypt(stored, { branchId, role: name }));
  if (!password) return [];
  return endpoints.map(({ id: endpointId }) =>
    toConnectionInfo(settings, { endpointId, role: name, database: database.name, password, isPooled: false }),
  );
}
