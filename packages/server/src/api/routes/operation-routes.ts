import { PAGE_LIMIT_DEFAULT } from '@tenantry/contract/pagination.ts';
import type { HandlerContext, Handlers } from '../handlers.ts';
import { emptyPage, isEnd, presentPagination, toPageRequest } from '../presenters/pagination.ts';
import { presentOperation, presentOperations } from '../presenters/present-operation.ts';

type Names = 'listProjectOperations' | 'getProjectOperation';

export function operationRoutes({ platform: { operations } }: HandlerContext): Pick<Handlers, Names> {
  return {
    listProjectOperations: async ({ principal, params, query }) => {
      const request = toPageRequest(query, PAGE_LIMIT_DEFAULT);
      const page = isEnd(query) ? emptyPage : await operations.list(principal, params.project_id, request);
      return { ...presentOperations(page.items), ...presentPagination(page, request.limit) };
    },

    getProjectOperation: async ({ principal, params }) => ({
      operation: presentOperation(await operations.get(principal, params.project_id, params.operation_id)),
    }),
  };
}
