import { defined } from '../defined.ts';
import type { HandlerContext, Handlers } from '../handlers.ts';
import { presentBranch } from '../presenters/present-branch.ts';
import { presentOperations } from '../presenters/present-operation.ts';
import { toMomentInput } from './moment-input.ts';

type Names = 'restoreProjectBranch' | 'finalizeRestoreBranch';

const FIELDS = { lsn: 'source_lsn', timestamp: 'source_timestamp' };

export function restoreRoutes({ platform: { branches } }: HandlerContext): Pick<Handlers, Names> {
  return {
    restoreProjectBranch: async ({ principal, params, body }) => {
      const { branch, operations } = await branches.restore(principal, params.project_id, params.branch_id, {
        sourceBranchId: body.source_branch_id,
        ...defined({
          at: toMomentInput(body.source_lsn, body.source_timestamp, FIELDS),
          // Neon: "if not empty".
          preserveUnderName: body.preserve_under_name || undefined,
        }),
      });
      return { branch: presentBranch(branch), ...presentOperations(operations) };
    },

    finalizeRestoreBranch: async ({ principal, params, body }) => {
      const input = defined({ name: body.name });
      const { operations } = await branches.finalizeRestore(principal, params.project_id, params.branch_id, input);
      return presentOperations(operations);
    },
  };
}
