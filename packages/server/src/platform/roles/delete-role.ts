import { PlatformError } from '../../kernel/errors.ts';
import { orderCatalogChange } from '../catalog/order-catalog-change.ts';
import { printable } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import { findDatabaseNameOwnedBy } from '../databases/database-rows.ts';
import type { Principal, RoleChange } from '../platform.ts';
import { getRoleRow } from './get-role.ts';
import { setRoleDeleting, toRole } from './role-rows.ts';

/**
 * The role cannot log in from now on.
 * @throws PlatformError NOT_FOUND, CONFLICT if it owns a database, CATALOG_CHANGE_REFUSED if it owns anything else
 */
export async function deleteRole(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
  name: string,
): Promise<RoleChange> {
  const { value, operations } = await orderCatalogChange(
    context,
    principal,
    { projectId, branchId },
    async ({ tx, changeDirectory }, branch) => {
      const role = await getRoleRow(tx, branch.branchId, name);
      const owned = await findDatabaseNameOwnedBy(tx, branch.branchId, name);
      if (owned !== undefined) {
        throw new PlatformError(
          'CONFLICT',
          `Cannot delete role ${printable(name)}: it owns database ${printable(owned)}. Give that another owner or delete it first`,
        );
      }
      await setRoleDeleting(tx, { branchId: branch.branchId, name, isDeleting: true });
      changeDirectory([branch.endpointId]);
      return { value: toRole(role), order: { change: { kind: 'drop_role', name }, undo: { kind: 'keep_role', name } } };
    },
  );
  return { role: value, operations };
}
