import type { Branches, BranchChange, Principal } from '../platform.ts';
import { must } from '../../kernel/assert.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { isId, notFound, printable } from '../checks.ts';
import type { Command } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { listEndpointVolumes, raiseGeneration } from '../endpoints/endpoint-rows.ts';
import { applyEndpointSpec } from '../endpoints/apply-endpoint-spec.ts';
import { enqueueVolumeRemoval } from '../hosts/remove-from-host.ts';
import { getProjectAccess } from '../projects/project-access.ts';
import { markBranchDeleted } from './branch-changes.ts';
import { RECOVERY_SECONDS } from './branch-limits.ts';
import { listChildren, type BranchRow } from './branch-rows.ts';
import { changeBranch } from './change-branch.ts';
import { discardBranch } from './discard-branch.ts';
import { handOnRestored, isBackup } from './restore-backup.ts';
import { withUsage } from './with-usage.ts';

type DeleteOptions = Parameters<Branches['delete']>[3];

/**
 * Gone for clients at once. What it holds stays for recovery, unless `isHard`.
 * @returns undefined if it was deleted before
 * @throws PlatformError NOT_FOUND, CONFLICT, PROJECT_LOCKED
 */
export async function deleteBranch(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
  options: DeleteOptions,
): Promise<BranchChange | undefined> {
  await getProjectAccess(context.metadata, principal, projectId);
  if (!isId(branchId)) throw notFound('branch', branchId);
  const target = { projectId, branchId, includeDeleted: true };
  const { value, operations } = await changeBranch(context, target, async (command, branch) => {
    if (branch.deletedAt && !options.isHard) return undefined;
    await checkDeletable(command, branch, options);
    if (options.isHard) await purge(command, branch);
    else await softDelete(context, command, branch);
    return branch;
  });
  if (!value) return undefined;
  const [branch] = await withUsage(context, [value]);
  return { branch: must(branch, 'as many branches as rows'), operations };
}

async function checkDeletable({ tx }: Command, branch: BranchRow, { isHard }: DeleteOptions): Promise<void> {
  const refuse = (why: string): PlatformError =>
    new PlatformError('CONFLICT', `Cannot delete branch ${printable(branch.name)}: ${why}`);
  if (branch.isDefault) throw refuse('it is the default branch. Make another the default first');
  if (branch.isProtected) throw refuse('it is protected. Set branch.protected to false first');
  if (isFirstRoot(branch) && !(await isBackup(tx, branch.id))) throw refuse('it is the root branch of the project');
  await handOnRestored(tx, branch.id);
  const children = await listChildren(tx, branch.id);
  if (children.some((child) => !child.isDeleted)) throw refuse('other branches were made from it. Delete them first');
  if (isHard && children.length > 0) {
    throw refuse('deleted branches that were made from it can still be recovered. Delete them with hard_delete first');
  }
  if (branch.state === 'init' || branch.state === 'resetting') {
    throw new PlatformError(
      'PROJECT_LOCKED',
      `Cannot delete branch ${printable(branch.name)}: it is not ready yet (${branch.state})`,
    );
  }
}

/** Roots that came later, from a schema or a snapshot, are branches like others. */
const isFirstRoot = ({ parentId, initSource, restoredFrom }: BranchRow): boolean =>
  parentId === null && initSource === 'parent-data' && restoredFrom === null;

/** Also for a branch that has expired. */
export async function softDelete({ now }: PlatformContext, command: Command, branch: BranchRow): Promise<void> {
  const deletedAt = now();
  const purgeAt = new Date(deletedAt.getTime() + RECOVERY_SECONDS * 1000);
  await markBranchDeleted(command.tx, branch.id, { now: deletedAt, purgeAt });
  await tellEndpoints(command, branch);
}

/** Gateways and the host learn that the branch is deleted, or recovered: its endpoints are disabled, or as they were. */
export async function tellEndpoints(command: Command, { id: branchId, projectId }: BranchRow): Promise<void> {
  const endpoints = await listEndpointVolumes(command.tx, branchId);
  const endpointIds = endpoints.map((endpoint) => endpoint.endpointId);
  await raiseGeneration(command.tx, endpointIds);
  command.changeDirectory(endpointIds);
  for (const endpointId of endpointIds) {
    await command.enqueue(applyEndpointSpec, { endpointId }, { projectId, branchId, endpointId });
  }
}

/** For good. */
export async function purge(command: Command, { id: branchId, projectId }: BranchRow): Promise<void> {
  await discardBranch(command, { projectId, branchId });
  await enqueueVolumeRemoval(command, projectId, branchId);
}
