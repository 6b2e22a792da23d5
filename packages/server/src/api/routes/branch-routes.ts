import { BRANCHES_PAGE_LIMIT_DEFAULT } from '@tenantry/contract/pagination.ts';
import type { BranchCreateBody } from '@tenantry/contract/branch.ts';
import { PlatformError } from '../../kernel/errors.ts';
import type { BranchChange, CreateBranchInput } from '../../platform/platform.ts';
import { defined } from '../defined.ts';
import type { HandlerContext, Handlers } from '../handlers.ts';
import { toPageRequest } from '../presenters/pagination.ts';
import { presentAnnotation, presentAnnotations, presentBranch } from '../presenters/present-branch.ts';
import { presentDatabase } from '../presenters/present-database.ts';
import { presentEndpoint } from '../presenters/present-endpoint.ts';
import { presentOperations } from '../presenters/present-operation.ts';
import { presentConnection } from '../presenters/present-project.ts';
import { presentRole } from '../presenters/present-role.ts';
import { toDate, toMomentInput } from './moment-input.ts';
import { toNewEndpoint } from './endpoint-input.ts';

type Names =
  | 'createProjectBranch'
  | 'listProjectBranches'
  | 'countProjectBranches'
  | 'getProjectBranch'
  | 'updateProjectBranch'
  | 'setDefaultProjectBranch'
  | 'deleteProjectBranch'
  | 'recoverProjectBranch';

const COUNT_PAGE_LIMIT = 1000;

const PARENT_FIELDS = { lsn: 'branch.parent_lsn', timestamp: 'branch.parent_timestamp' };

export function branchRoutes({ platform, domain }: HandlerContext): Pick<Handlers, Names> {
  const { branches, endpoints } = platform;
  return {
    createProjectBranch: async ({ principal, params, body }) => {
      const created = await branches.create(principal, params.project_id, toCreateInput(body));
      return {
        branch: presentBranch(created.branch),
        endpoints: created.endpoints.map((endpoint) => presentEndpoint(endpoint, domain)),
        ...presentOperations(created.operations),
        roles: created.roles.map((role) => presentRole(role, created.passwords.get(role.name))),
        databases: created.databases.map(presentDatabase),
        ...(created.connections.length > 0 && { connection_uris: created.connections.map(presentConnection) }),
      };
    },

    listProjectBranches: async ({ principal, params, query }) => {
      const sortBy = query.sort_by ?? 'updated_at';
      const sortOrder = query.sort_order ?? 'desc';
      const page = await branches.list(principal, params.project_id, {
        ...toPageRequest(query, BRANCHES_PAGE_LIMIT_DEFAULT),
        ...defined({ search: query.search }),
        sortBy,
        sortOrder,
        includeDeleted: query.include_deleted ?? false,
      });
      return {
        branches: page.items.map(presentBranch),
        annotations: presentAnnotations(page.items),
        pagination: { ...defined({ next: page.nextCursor }), sort_by: sortBy, sort_order: sortOrder },
      };
    },

    countProjectBranches: async ({ principal, params, query }) => {
      let count = 0;
      let cursor: string | undefined;
      do {
        const page = await branches.list(principal, params.project_id, {
          limit: COUNT_PAGE_LIMIT,
          ...defined({ cursor, search: query.search }),
        });
        count += page.items.length;
        cursor = page.nextCursor;
      } while (cursor !== undefined);
      return { count };
    },

    getProjectBranch: async ({ principal, params }) => {
      const branch = await branches.get(principal, params.project_id, params.branch_id);
      return { branch: presentBranch(branch), annotation: presentAnnotation(branch) };
    },

    updateProjectBranch: async ({ principal, params, body: { branch } }) => {
      const { name, protected: isProtected, expires_at } = branch;
      const expiresAt = typeof expires_at === 'string' ? toDate('branch.expires_at', expires_at) : expires_at;
      const input = defined({ name, isProtected, expiresAt });
      return presentChange(await branches.update(principal, params.project_id, params.branch_id, input));
    },

    setDefaultProjectBranch: async ({ principal, params }) =>
      presentChange(await branches.setDefault(principal, params.project_id, params.branch_id)),

    deleteProjectBranch: async ({ principal, params, query }) => {
      const options = { isHard: query.hard_delete ?? false };
      const change = await branches.delete(principal, params.project_id, params.branch_id, options);
      if (change) return presentChange(change);
      throw new PlatformError('NOT_FOUND', `Cannot find branch ${params.branch_id}: it is deleted`);
    },

    recoverProjectBranch: async ({ principal, params }) => {
      const { branch } = await branches.recover(principal, params.project_id, params.branch_id);
      const present = await endpoints.list(principal, params.project_id, branch.id);
      return {
        branch: presentBranch(branch),
        endpoints: present.map((endpoint) => presentEndpoint(endpoint, domain)),
      };
    },
  };
}

const presentChange = ({ branch, operations }: BranchChange) => ({
  branch: presentBranch(branch),
  ...presentOperations(operations),
});

function toCreateInput({ branch = {}, endpoints, annotation_value: annotations }: BranchCreateBody): CreateBranchInput {
  return defined({
    // Neon: "if omitted or empty".
    parentId: branch.parent_id || undefined,
    name: branch.name,
    at: toMomentInput(branch.parent_lsn, branch.parent_timestamp, PARENT_FIELDS),
    isProtected: branch.protected,
    isArchived: branch.archived,
    initSource: branch.init_source,
    expiresAt: branch.expires_at === undefined ? undefined : toDate('branch.expires_at', branch.expires_at),
    endpoints: endpoints?.map(toNewEndpoint),
    annotations,
  });
}
