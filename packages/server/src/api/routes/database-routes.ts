import { defined } from '../defined.ts';
import type { DatabaseChange } from '../../platform/platform.ts';
import type { HandlerContext, Handlers } from '../handlers.ts';
import { presentDatabase } from '../presenters/present-database.ts';
import { presentOperations } from '../presenters/present-operation.ts';

type Names =
  | 'listProjectBranchDatabases'
  | 'createProjectBranchDatabase'
  | 'getProjectBranchDatabase'
  | 'updateProjectBranchDatabase'
  | 'deleteProjectBranchDatabase';

export function databaseRoutes({ platform: { databases } }: HandlerContext): Pick<Handlers, Names> {
  return {
    listProjectBranchDatabases: async ({ principal, params }) => {
      const list = await databases.list(principal, params.project_id, params.branch_id);
      return { databases: list.map(presentDatabase) };
    },

    createProjectBranchDatabase: async ({ principal, params, body: { database } }) => {
      const input = { name: database.name, ownerName: database.owner_name };
      return presentChange(await databases.create(principal, params.project_id, params.branch_id, input));
    },

    getProjectBranchDatabase: async ({ principal, params }) => ({
      database: presentDatabase(
        await databases.get(principal, params.project_id, params.branch_id, params.database_name),
      ),
    }),

    updateProjectBranchDatabase: async ({ principal, params, body: { database } }) => {
      const { project_id: projectId, branch_id: branchId, database_name: name } = params;
      const input = defined({ name: database.name, ownerName: database.owner_name });
      return presentChange(await databases.update(principal, projectId, branchId, name, input));
    },

    deleteProjectBranchDatabase: async ({ principal, params }) =>
      presentChange(await databases.delete(principal, params.project_id, params.branch_id, params.database_name)),
  };
}

const presentChange = (change: DatabaseChange) => ({
  database: presentDatabase(change.database),
  ...presentOperations(change.operations),
});
