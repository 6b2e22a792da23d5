import type { PlatformDeps } from '../context.ts';
import { getHistoryRetention } from '../projects/project-rows.ts';
import { findReplicaVolume } from './endpoint-rows.ts';

/** Makes the volume of a read-only endpoint, a clone of its branch as it is now. Nothing for other endpoints. */
export async function branchReplica({ metadata, host }: PlatformDeps, endpointId: string): Promise<void> {
  const replica = await findReplicaVolume(metadata, endpointId);
  if (!replica) return;
  const historyRetentionSeconds = await getHistoryRetention(metadata, replica.projectId);
  await host.branchVolume({ ...replica, at: { kind: 'head' }, historyRetentionSeconds });
}
