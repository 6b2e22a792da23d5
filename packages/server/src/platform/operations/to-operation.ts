import type { BranchId, EndpointId } from '@tenantry/contract/ids.ts';
import type { OperationRecord } from '../../operations/operation-rows.ts';
import type { Operation, OperationAction } from '../platform.ts';

/** An operation as clients see it; actions are those that our definitions name. */
export const toOperation = (record: OperationRecord): Operation => ({
  id: record.id,
  projectId: record.projectId,
  branchId: record.branchId as BranchId | null,
  endpointId: record.endpointId as EndpointId | null,
  action: record.action as OperationAction,
  status: record.status,
  error: record.failure?.message ?? null,
  failuresCount: record.failuresCount,
  retryAt: record.retryAt,
  createdAt: record.createdAt,
  updatedAt: record.updatedAt,
  totalDurationMs: Math.round(record.totalDurationMs),
});
