import type { Operation as OperationSchema } from '@tenantry/contract/operation.ts';
import type { Static } from 'typebox';
import type { Operation } from '../../platform/platform.ts';
import { defined } from '../defined.ts';
import { toOptionalTimestamp, toTimestamp } from './timestamp.ts';

export function presentOperation(operation: Operation): Static<typeof OperationSchema> {
  return {
    id: operation.id,
    project_id: operation.projectId,
    action: operation.action,
    status: operation.status,
    failures_count: operation.failuresCount,
    created_at: toTimestamp(operation.createdAt),
    updated_at: toTimestamp(operation.updatedAt),
    total_duration_ms: Math.round(operation.totalDurationMs),
    ...defined({
      branch_id: operation.branchId ?? undefined,
      endpoint_id: operation.endpointId ?? undefined,
      error: operation.error ?? undefined,
      retry_at: toOptionalTimestamp(operation.retryAt),
    }),
  };
}

/** `operations` of an answer to a command. */
export const presentOperations = (operations: readonly Operation[]) => ({
  operations: operations.map(presentOperation),
});
