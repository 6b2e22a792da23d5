import type { EndpointId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { done, type OperationDefinition } from '../../operations/operation.ts';
import { countBranches, findDefaultBranchId } from '../branches/branch-rows.ts';
import { notFound } from '../checks.ts';
import { runCommand, type Command } from '../command/run-command.ts';
import type { PlatformContext, PlatformDeps } from '../context.ts';
import { listEndpointIds } from '../endpoints/endpoint-rows.ts';
import { suspendCompute } from '../endpoints/suspend-endpoint.ts';
import type { Principal, Project } from '../platform.ts';
import { getProject } from './get-project.ts';
import { lockProject, markProjectDeleted } from './project-rows.ts';
import { removeProject } from './remove-project.ts';

interface DeleteTimelineInput {
  readonly projectId: string;
}

/** Removes all that a deleted project owns, the row last. If it ends before that, the next start orders it again. */
export const deleteTimeline: OperationDefinition<DeleteTimelineInput, PlatformDeps> = {
  kind: 'delete_timeline',
  action: 'delete_timeline',
  deadlineMs: 24 * 60 * 60_000,
  stepDeadlineMs: 10 * 60_000,
  firstStep: 'removeFromHost',
  steps: {
    removeFromHost: async ({ deps }, { projectId }) => {
      await removeProject(deps, projectId);
      return done;
    },
  },
};

/**
 * Final: the project is gone for clients at once, and from the disk when its operations have ended.
 * @throws PlatformError CONFLICT if one of its branches is protected
 */
export async function deleteProject(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
): Promise<Project> {
  if (principal.kind === 'project') {
    throw new PlatformError('FORBIDDEN', 'Cannot delete the project: a key for one project may not');
  }
  const project = await getProject(context, principal, projectId);
  await runCommand(context, async (command) => {
    if (!(await lockProject(command.tx, projectId))) throw notFound('project', projectId);
    if ((await countBranches(command.tx, projectId)).protected > 0) {
      throw new PlatformError(
        'CONFLICT',
        `Cannot delete project ${projectId}: it has a protected branch. Set branch.protected to false first`,
      );
    }
    await markProjectDeleted(command.tx, projectId);
    const endpointIds = await listEndpointIds(command.tx, { projectId });
    command.changeDirectory(endpointIds);
    for (const endpointId of endpointIds as readonly EndpointId[]) {
      await command.enqueue(suspendCompute, { endpointId }, { projectId, endpointId }, { inBackground: true });
    }
    await enqueueDeletion(command, projectId);
  });
  return project;
}

/** For a project that is marked as deleted. */
export async function enqueueDeletion(command: Command, projectId: string): Promise<void> {
  const branchId = await findDefaultBranchId(command.tx, projectId);
  const target = branchId === undefined ? { projectId } : { projectId, branchId };
  await command.enqueue(deleteTimeline, { projectId }, target, { inBackground: true });
}
