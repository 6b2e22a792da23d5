import { orderCatalogChange } from '../catalog/order-catalog-change.ts';
import type { PlatformContext } from '../context.ts';
import type { DatabaseChange, Principal } from '../platform.ts';
import { setDatabaseDeleting, toDatabase } from './database-rows.ts';
import { getDatabaseRow } from './get-database.ts';

export async function deleteDatabase(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
  name: string,
): Promise<DatabaseChange> {
  const { value, operations } = await orderCatalogChange(
    context,
    principal,
    { projectId, branchId },
    async ({ tx }, branch) => {
      const database = await getDatabaseRow(tx, branch.branchId, name);
      const id = String(database.id);
      await setDatabaseDeleting(tx, id, true);
      return {
        value: toDatabase(database),
        order: { change: { kind: 'drop_database', name }, undo: { kind: 'keep_database', id } },
      };
    },
  );
  return { database: value, operations };
}
