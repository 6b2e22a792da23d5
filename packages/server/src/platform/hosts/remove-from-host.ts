import { done, type OperationDefinition } from '../../operations/operation.ts';
import { unlessNotFound } from '../command/unless-not-found.ts';
import type { Command } from '../command/run-command.ts';
import type { PlatformDeps } from '../context.ts';
import { deleteHostRemoval, listHostRemovals } from './host-removal-rows.ts';

interface RemoveFromHostInput {
  readonly projectId: string;
}

const definition = {
  deadlineMs: 24 * 60 * 60_000,
  stepDeadlineMs: 10 * 60_000,
  firstStep: 'remove',
  steps: {
    remove: async ({ deps }, { projectId }) => {
      await removeFromHost(deps, projectId);
      return done;
    },
  },
} satisfies Partial<OperationDefinition<RemoveFromHostInput, PlatformDeps>>;

/** Ends computes whose endpoint is deleted. If it fails, the next look for what is left orders it again. */
export const removeEndpoints: OperationDefinition<RemoveFromHostInput, PlatformDeps> = {
  ...definition,
  kind: 'remove_endpoints',
  action: 'suspend_compute',
};

/** The same for volumes, with what is on them. */
export const removeVolumes: OperationDefinition<RemoveFromHostInput, PlatformDeps> = {
  ...definition,
  kind: 'remove_volumes',
  action: 'delete_timeline',
};

/** Has the host remove what deleted rows of the project have left there. Harmless if repeated. */
export async function removeFromHost({ metadata, host }: PlatformDeps, projectId: string): Promise<void> {
  const { endpointIds, volumeIds } = await listHostRemovals(metadata, projectId);
  for (const id of endpointIds) {
    await unlessNotFound(host.removeEndpoint(id, volumeIds));
    await deleteHostRemoval(metadata, projectId, { kind: 'endpoint', id });
  }
  for (const id of volumeIds) {
    await unlessNotFound(host.deleteVolume(id));
    await deleteHostRemoval(metadata, projectId, { kind: 'volume', id });
  }
}

/** For rows whose deletion has left volumes on the host. */
export async function enqueueVolumeRemoval(command: Command, projectId: string, branchId?: string): Promise<void> {
  const target = branchId === undefined ? { projectId } : { projectId, branchId };
  await command.enqueue(removeVolumes, { projectId }, target, { inBackground: true });
}
