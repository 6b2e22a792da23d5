import type { Work } from '../command/transact.ts';
import { listEndpointVolumes } from '../endpoints/endpoint-rows.ts';
import { insertHostRemovals } from '../hosts/host-removal-rows.ts';
import { findBranchVolumeId } from './branch-rows.ts';

/**
 * Deletes the rows of a branch and all below it, and notes what the host must remove. Children must be gone. Harmless
 * if repeated.
 */
export async function discardBranch(
  { tx, changeDirectory }: Work,
  { projectId, branchId }: { readonly projectId: string; readonly branchId: string },
): Promise<void> {
  const volumeId = await findBranchVolumeId(tx, branchId);
  if (volumeId === undefined) return;
  const endpoints = await listEndpointVolumes(tx, branchId);
  const endpointIds = endpoints.map((endpoint) => endpoint.endpointId);
  const ownVolumeIds = endpoints.flatMap((endpoint) => endpoint.volumeId ?? []);
  await insertHostRemovals(tx, projectId, { endpointIds, volumeIds: [...ownVolumeIds, volumeId] });
  changeDirectory(endpointIds);
  await tx.deleteFrom('branches').where('id', '=', branchId).execute();
}
