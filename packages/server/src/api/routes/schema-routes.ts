import { defined } from '../defined.ts';
import type { HandlerContext, Handlers } from '../handlers.ts';
import { toMomentInput } from './moment-input.ts';

type Names = 'getProjectBranchSchema' | 'getProjectBranchSchemaComparison';

const FIELDS = { lsn: 'lsn', timestamp: 'timestamp' };
const BASE_FIELDS = { lsn: 'base_lsn', timestamp: 'base_timestamp' };

export function schemaRoutes({ platform: { branches } }: HandlerContext): Pick<Handlers, Names> {
  return {
    getProjectBranchSchema: async ({ principal, params, query }) => ({
      sql: await branches.schema(principal, params.project_id, params.branch_id, {
        databaseName: query.db_name,
        ...toMomentInput(query.lsn, query.timestamp, FIELDS),
      }),
    }),

    getProjectBranchSchemaComparison: async ({ principal, params, query }) => ({
      diff: await branches.compareSchema(principal, params.project_id, params.branch_id, {
        databaseName: query.db_name,
        ...toMomentInput(query.lsn, query.timestamp, FIELDS),
        ...defined({
          baseBranchId: query.base_branch_id,
          base: toMomentInput(query.base_lsn, query.base_timestamp, BASE_FIELDS),
        }),
      }),
    }),
  };
}
