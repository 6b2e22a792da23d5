import type { ScheduleItem, Snapshot as SnapshotSchema } from '@tenantry/contract/snapshot.ts';
import type { Static } from 'typebox';
import type { Snapshot, SnapshotScheduleItem } from '../../platform/platform.ts';
import { defined } from '../defined.ts';
import { toOptionalTimestamp, toTimestamp } from './timestamp.ts';

export function presentSnapshot(snapshot: Snapshot): Static<typeof SnapshotSchema> {
  return {
    id: snapshot.id,
    name: snapshot.name,
    source_branch_id: snapshot.sourceBranchId,
    created_at: toTimestamp(snapshot.createdAt),
    manual: snapshot.isManual,
    ...defined({
      lsn: snapshot.lsn ?? undefined,
      timestamp: snapshot.timestamp ?? undefined,
      expires_at: toOptionalTimestamp(snapshot.expiresAt),
      full_size: snapshot.fullBytes ?? undefined,
    }),
  };
}

export const presentSchedule = (items: readonly SnapshotScheduleItem[]): { schedule: ScheduleItem[] } => ({
  schedule: items.map(({ retentionSeconds, ...item }) => ({
    ...item,
    ...defined({ retention_seconds: retentionSeconds }),
  })),
});
