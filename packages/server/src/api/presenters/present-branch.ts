import type { Annotation, Branch as BranchSchema } from '@tenantry/contract/branch.ts';
import type { Static } from 'typebox';
import type { Branch } from '../../platform/platform.ts';
import { defined } from '../defined.ts';
import { toTimestamp } from './timestamp.ts';

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
    init_source: 'parent-data',
    ...defined({
      parent_id: branch.parentId ?? undefined,
      pending_state: branch.pendingState ?? undefined,
      logical_size: branch.logicalBytes ?? undefined,
    }),
  };
}

/** Tenantry keeps no annotations yet: an empty one. */
export const presentAnnotation = (branch: Branch): Static<typeof Annotation> => ({
  object: { type: 'console/branch', id: branch.id },
  value: {},
});
