import type { Kysely, Transaction } from 'kysely';
import { newVolumeId } from '@tenantry/contract/ids.ts';
import type { Tables } from '../../metadata/tables.ts';
import type { PlatformDeps } from '../context.ts';
import { listEndpointVolumes } from '../endpoints/endpoint-rows.ts';
import { insertHostRemovals } from '../hosts/host-removal-rows.ts';

/** A read-only endpoint whose own volume is to be replaced, for its branch is getting other data. */
export interface ReplicaSwap {
  readonly endpointId: string;
  readonly oldVolumeId: string;
  readonly volumeId: string;
}

/** With new volume ids: to be called once, when the operation is ordered. */
export async function planReplicaSwaps(db: Kysely<Tables>, branchId: string): Promise<readonly ReplicaSwap[]> {
  const volumes = await listEndpointVolumes(db, branchId);
  return volumes.flatMap(({ endpointId, volumeId }) =>
    volumeId === null ? [] : [{ endpointId, oldVolumeId: volumeId, volumeId: newVolumeId() }],
  );
}

/** Makes the new volumes: standbys of the branch's, as it will be. */
export async function makeReplicaVolumes(
  { host }: PlatformDeps,
  { projectId, source }: { readonly projectId: string; readonly source: string },
  replicas: readonly ReplicaSwap[],
): Promise<void> {
  for (const { volumeId } of replicas) await host.createReplicaVolume({ volumeId, projectId, source });
}

/** The old ones are to be removed from the host, and the new ones of endpoints that are gone. */
export async function swapReplicaVolumes(
  tx: Transaction<Tables>,
  projectId: string,
  replicas: readonly ReplicaSwap[],
): Promise<void> {
  for (const { endpointId, oldVolumeId, volumeId } of replicas) {
    const { numUpdatedRows } = await tx
      .updateTable('endpoints')
      .set({ volume_id: volumeId })
      .where('id', '=', endpointId)
      .executeTakeFirst();
    await insertHostRemovals(tx, projectId, { volumeIds: [numUpdatedRows > 0n ? oldVolumeId : volumeId] });
  }
}
