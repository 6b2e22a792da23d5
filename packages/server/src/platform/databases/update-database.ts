import { checkDatabaseName } from '../catalog/catalog-name.ts';
import { orderCatalogChange } from '../catalog/order-catalog-change.ts';
import type { PlatformContext } from '../context.ts';
import type { DatabaseChange, Principal } from '../platform.ts';
import { checkNameIsFree, checkOwner } from './create-database.ts';
import { toDatabase, updateDatabaseRow } from './database-rows.ts';
import { getDatabaseRow } from './get-database.ts';

/** Renames a database or gives it another owner. No operations if nothing changes. */
export async function updateDatabase(
  context: PlatformContext,
  principal: Principal,
  { projectId, branchId, name }: { readonly projectId: string; readonly branchId: string; readonly name: string },
  input: { readonly name?: string; readonly ownerName?: string },
): Promise<DatabaseChange> {
  const newName = input.name === undefined ? name : checkDatabaseName(input.name, 'database.name');
  const { value, operations } = await orderCatalogChange(
    context,
    principal,
    { projectId, branchId },
    async ({ tx }, branch) => {
      const before = await getDatabaseRow(tx, branch.branchId, name);
      const owner = input.ownerName ?? before.ownerName;
      if (newName === name && owner === before.ownerName) return { value: toDatabase(before) };
      if (newName !== name) await checkNameIsFree(tx, branch.branchId, newName);
      if (owner !== before.ownerName) await checkOwner(tx, branch.branchId, owner);
      const id = String(before.id);
      const after = await updateDatabaseRow(tx, { id, name: newName, ownerName: owner });
      return {
        value: toDatabase(after),
        order: {
          change: { kind: 'update_database', name, newName, owner },
          undo: { kind: 'restore_database', id, name, ownerName: before.ownerName },
        },
      };
    },
  );
  return { database: value, operations };
}
