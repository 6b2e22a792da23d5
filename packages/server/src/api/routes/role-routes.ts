import { defined } from '../defined.ts';
import type { RoleChange } from '../../platform/platform.ts';
import type { HandlerContext, Handlers } from '../handlers.ts';
import { presentOperations } from '../presenters/present-operation.ts';
import { presentRole } from '../presenters/present-role.ts';

type Names =
  | 'listProjectBranchRoles'
  | 'createProjectBranchRole'
  | 'getProjectBranchRole'
  | 'deleteProjectBranchRole'
  | 'getProjectBranchRolePassword'
  | 'resetProjectBranchRolePassword';

export function roleRoutes({ platform: { roles } }: HandlerContext): Pick<Handlers, Names> {
  return {
    listProjectBranchRoles: async ({ principal, params }) => {
      const list = await roles.list(principal, params.project_id, params.branch_id);
      return { roles: list.map((role) => presentRole(role)) };
    },

    createProjectBranchRole: async ({ principal, params, body: { role } }) => {
      const input = { name: role.name, ...defined({ noLogin: role.no_login }) };
      return presentChange(await roles.create(principal, params.project_id, params.branch_id, input));
    },

    getProjectBranchRole: async ({ principal, params }) => ({
      role: presentRole(await roles.get(principal, params.project_id, params.branch_id, params.role_name)),
    }),

    deleteProjectBranchRole: async ({ principal, params }) =>
      presentChange(await roles.delete(principal, params.project_id, params.branch_id, params.role_name)),

    getProjectBranchRolePassword: async ({ principal, params }) => {
      const password = await roles.revealPassword(principal, params.project_id, params.branch_id, params.role_name);
      return { password: password.reveal() };
    },

    resetProjectBranchRolePassword: async ({ principal, params }) =>
      presentChange(await roles.resetPassword(principal, params.project_id, params.branch_id, params.role_name)),
  };
}

const presentChange = (change: RoleChange) => ({
  role: presentRole(change.role, change.password),
  ...presentOperations(change.operations),
});
