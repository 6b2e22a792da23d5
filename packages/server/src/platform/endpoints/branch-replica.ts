import type { PlatformDeps } from '../context.ts';
import { findReplicaVolume } from './endpoint-rows.ts';

/** Makes the volume of a read-only endpoint, a standby of its branch. Nothing for other endpoints. */
export async function branchReplica({ metadata, host }: PlatformDeps, endpointId: string): Promise<void> {
  const replica = await findReplicaVolume(metadata, endpointId);
  if (replica) await host.createReplicaVolume(replica);
}
