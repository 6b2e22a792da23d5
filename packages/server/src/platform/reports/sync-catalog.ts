import type { SeenCatalog } from '../../host/host.ts';
import { getCatalogProgress } from '../catalog/catalog-change-rows.ts';
import { isCatalogName, isPlatformRole } from '../catalog/catalog-name.ts';
import type { Work } from '../command/transact.ts';
import { deleteDatabaseRow, insertDatabase, listDatabaseRows, updateDatabaseRow } from '../databases/database-rows.ts';
import { listEndpointIds } from '../endpoints/endpoint-rows.ts';
import { deleteRoleRow, insertRole, listRoleVerifiers, setRoleSecret } from '../roles/role-rows.ts';

interface SeenInBranch {
  readonly branchId: string;
  readonly catalog: SeenCatalog;
  /** All changes up to this one were applied when it was seen. */
  readonly appliedSeq: number;
}

/**
 * Makes the rows follow what SQL has done to roles and databases. Looks away while a change of ours is on its way, or
 * if it was seen before the last one: then rows and compute differ for a good reason. The branch's row must be locked.
 */
export async function syncCatalog(work: Work, { branchId, catalog, appliedSeq }: SeenInBranch): Promise<void> {
  const { hasPending, settledSeq } = await getCatalogProgress(work.tx, branchId);
  if (hasPending || appliedSeq < settledSeq) return;
  const isChanged = await syncRoles(work, branchId, catalog.roles);
  if (isChanged) work.changeDirectory(await listEndpointIds(work.tx, { branchId }));
  await syncDatabases(work, branchId, catalog.databases);
}

/** @returns whether gateways have to know */
async function syncRoles({ tx }: Work, branchId: string, roles: SeenCatalog['roles']): Promise<boolean> {
  const seen = new Map(
    roles.filter(({ name }) => isCatalogName(name) && !isPlatformRole(name)).map((role) => [role.name, role.verifier]),
  );
  const known = await listRoleVerifiers(tx, branchId);
  let isChanged = false;
  for (const [name, verifier] of seen) {
    const role = known.get(name);
    if (role && (role.noLogin || role.verifier === verifier)) continue;
    if (role) await setRoleSecret(tx, { branchId, name, verifier, passwordEncrypted: null });
    else await insertRole(tx, { branchId, name, verifier });
    isChanged = true;
  }
  for (const name of known.keys()) {
    if (seen.has(name)) continue;
    await deleteRoleRow(tx, branchId, name);
    isChanged = true;
  }
  return isChanged;
}

async function syncDatabases({ tx }: Work, branchId: string, databases: SeenCatalog['databases']): Promise<void> {
  const seen = new Map(
    databases
      .filter(({ name, owner }) => isCatalogName(name) && isCatalogName(owner))
      .map((database) => [database.name, database.owner]),
  );
  const known = await listDatabaseRows(tx, branchId);
  for (const { id, name, ownerName } of known) {
    const owner = seen.get(name);
    if (owner === undefined) await deleteDatabaseRow(tx, String(id));
    else if (owner !== ownerName) await updateDatabaseRow(tx, { id: String(id), name, ownerName: owner });
  }
  const names = new Set(known.map((database) => database.name));
  for (const [name, ownerName] of seen) {
    if (!names.has(name)) await insertDatabase(tx, { branchId, name, ownerName });
  }
}
