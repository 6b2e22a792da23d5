import { PlatformError } from '../../kernel/errors.ts';
import { orderCatalogChange } from '../catalog/order-catalog-change.ts';
import { printable } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Principal, RoleChange } from '../platform.ts';
import { getPasswordPolicy } from '../projects/password-policy.ts';
import { getRole, getRoleRow } from './get-role.ts';
import { newRoleSecret } from './new-role-secret.ts';

/** The new password is valid once the operation has ended, the old one until then. */
export async function resetRolePassword(
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
    async ({ tx }, branch) => {
      const role = await getRoleRow(tx, branch.branchId, name);
      if (role.noLogin) {
        throw new PlatformError('CONFLICT', `Cannot reset the password of role ${printable(name)}: it may not log in`);
      }
      const policy = await getPasswordPolicy(tx, projectId);
      const secret = newRoleSecret(context.passwords, { branchId: branch.branchId, role: name }, policy);
      return {
        value: secret.password,
        order: {
          change: { kind: 'put_role', name, verifier: secret.verifier },
          undo: { kind: 'nothing' },
          passwordEncrypted: secret.passwordEncrypted,
        },
      };
    },
  );
  return { role: await getRole(context, principal, projectId, branchId, name), password: value, operations };
}
