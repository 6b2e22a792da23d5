import type { Annotation, Branch as BranchSchema } from '@tenantry/contract/branch.ts';
import type { Static } from 'typebox';
import type { Branch } from '../../platform/platform.ts';
import { defined } from '../defined.ts';
import { toOptionalTimestamp, toTimestamp } from './timestamp.ts';

export function presentBranch(branch: Branch): Static<typeof BranchSchema> {
  return {
    id: branch.id,
    project_id: branch.projectId,
    name: branch.name,
    current_state: branch.state,
    state_changed_at: toTimestamp(branch.stateChangedAt),
    creation_source: 'console',
    primary: branch.isDefault,
    default: branch.isDefault,
    protected: branch.isProtected,
    cpu_used_sec: Math.round(branch.usage.cpuUsedSeconds),
    compute_time_seconds: Math.round(branch.usage.computeTimeSeconds),
    active_time_seconds: Math.round(branch.usage.activeTimeSeconds),
    written_data_bytes: branch.usage.writtenDataBytes,
    data_transfer_bytes: branch.usage.dataTransferBytes,
    created_at: toTimestamp(branch.createdAt),
    updated_at: toTimestamp(branch.updatedAt),
    created_by: { name: branch.createdByName, image: '' },
    init_source: branch.initSource,
    ...defined({
      parent_id: branch.parentId ?? undefined,
      pending_state: branch.pendingState ?? undefined,
      logical_size: branch.logicalBytes ?? undefined,
      parent_lsn: branch.parentLsn ?? undefined,
      parent_timestamp: branch.parentTimestamp ?? undefined,
      expires_at: toOptionalTimestamp(branch.expiresAt),
      ttl_interval_seconds: branch.ttlSeconds ?? undefined,
      last_reset_at: toOptionalTimestamp(branch.lastResetAt),
      restored_from: branch.restoredFrom ?? undefined,
      restored_as: branch.restoredAs ?? undefined,
      restore_status: branch.restoreStatus ?? undefined,
      recovery: presentRecovery(branch),
    }),
  };
}

function presentRecovery({ deletedAt, recoverableUntil, expiresAt }: Branch) {
  if (!deletedAt || !recoverableUntil) return undefined;
  const hasExpired = expiresAt !== null && expiresAt <= deletedAt;
  return {
    deleted_at: toTimestamp(deletedAt),
    recoverable_until: toTimestamp(recoverableUntil),
    deletion_method: hasExpired ? ('ttl' as const) : ('user' as const),
  };
}

export const presentAnnotation = ({ id, annotations }: Branch): Static<typeof Annotation> => ({
  object: { type: 'console/branch', id },
  value: { ...annotations },
});

/** Of all branches that have any, by their ids. */
export const presentAnnotations = (branches: readonly Branch[]): Record<string, Static<typeof Annotation>> =>
  Object.fromEntries(
    branches
      .filter(({ annotations }) => Object.keys(annotations).length > 0)
      .map((branch) => [branch.id, presentAnnotation(branch)]),
  );
