import { PlatformError } from '../../kernel/errors.ts';
import { checkRoleName } from '../catalog/catalog-name.ts';
import { orderCatalogChange } from '../catalog/order-catalog-change.ts';
import { printable } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Principal, RoleChange } from '../platform.ts';
import { getPasswordPolicy } from '../projects/password-policy.ts';
import { getRole } from './get-role.ts';
import { newRoleSecret } from './new-role-secret.ts';
import { countRoles, findRoleRow, insertRole } from './role-rows.ts';

const ROLES_MAX = 500;

/**
 * The role can log in once its operation has ended. With `noLogin` it never can: nobody knows its password.
 * @throws PlatformError INVALID_REQUEST, RESERVED_NAME, ALREADY_EXISTS, PROJECT_LOCKED, ROLES_LIMIT_EXCEEDED
 */
export async function createRole(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
  input: { readonly name: string; readonly noLogin?: boolean },
): Promise<RoleChange> {
  const name = checkRoleName(input.name, 'role.name');
  const noLogin = input.noLogin ?? false;
  const { value, operations } = await orderCatalogChange(
    context,
    principal,
    { projectId, branchId },
    async ({ tx }, branch) => {
      const present = await findRoleRow(tx, branch.branchId, name);
      if (present?.isDeleting) throw beingDeleted('role', name);
      if (present)
        throw new PlatformError('ALREADY_EXISTS', `Cannot create role ${printable(name)}: it exists already`);
      if ((await countRoles(tx, branch.branchId)) >= ROLES_MAX) {
        throw new PlatformError(
          'ROLES_LIMIT_EXCEEDED',
          `Cannot create role ${printable(name)}: the branch has ${ROLES_MAX} roles, as many as it may have`,
        );
      }
      const policy = await getPasswordPolicy(tx, projectId);
      const secret = newRoleSecret(context.passwords, { branchId: branch.branchId, role: name }, policy);
      await insertRole(tx, { branchId: branch.branchId, name, noLogin });
      return {
        value: secret.password,
        order: {
          change: { kind: 'put_role', name, verifier: secret.verifier },
          undo: { kind: 'remove_role', name },
          passwordEncrypted: noLogin ? null : secret.passwordEncrypted,
        },
      };
    },
  );
  const role = await getRole(context, principal, projectId, branchId, name);
  return noLogin ? { role, operations } : { role, password: value, operations };
}

export const beingDeleted = (what: string, name: string): PlatformError =>
  new PlatformError('PROJECT_LOCKED', `Cannot use the name ${printable(name)} yet: a ${what} of it is being deleted`);
