import { BRANCHES_PAGE_LIMIT_DEFAULT } from '@tenantry/contract/pagination.ts';
import { defined } from '../defined.ts';
import type { HandlerContext, Handlers } from '../handlers.ts';
import { toPageRequest } from '../presenters/pagination.ts';
import { presentAnnotation, presentBranch } from '../presenters/present-branch.ts';

type Names = 'listProjectBranches' | 'countProjectBranches' | 'getProjectBranch';

const COUNT_PAGE_LIMIT = 1000;

export function branchRoutes({ platform }: HandlerContext): Pick<Handlers, Names> {
  const { branches } = platform;
  return {
    listProjectBranches: async ({ principal, params, query }) => {
      const sortBy = query.sort_by ?? 'updated_at';
      const sortOrder = query.sort_order ?? 'desc';
      const page = await branches.list(principal, params.project_id, {
        ...toPageRequest(query, BRANCHES_PAGE_LIMIT_DEFAULT),
        ...defined({ search: query.search }),
        sortBy,
        sortOrder,
      });
      return {
        branches: page.items.map(presentBranch),
        annotations: {},
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
  };
}
