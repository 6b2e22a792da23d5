import { PlatformError } from '../../kernel/errors.ts';
import { checkName, notFound } from '../checks.ts';
import { runCommand, type Command } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import type { BranchChange, Branches, Principal } from '../platform.ts';
import { lockProject } from '../projects/project-rows.ts';
import { bringBack } from './bring-back.ts';
import { checkReady } from './branch-checks.ts';
import { findBranchRow, type BranchRow } from './branch-rows.ts';
import { finalizeRestoreOperation } from './finalize-operation.ts';
import { getBranch, getBranchRow } from './get-branch.ts';
import { checkBranchName, checkReplaceable } from './restore-branch.ts';
import { planReplicaSwaps } from './restore-replicas.ts';
import { markResetting } from './restore-rows.ts';

/**
 * A branch made from a snapshot takes the place of its target: name, endpoints, schedule, and whether it is the default.
 * The target keeps its data, its id and its children, under another name.
 * @throws PlatformError NOT_FOUND, INVALID_REQUEST, CONFLICT, ALREADY_EXISTS, PROJECT_LOCKED
 */
export async function finalizeRestore(
  context: PlatformContext,
  principal: Principal,
  { projectId, branchId }: { readonly projectId: string; readonly branchId: string },
  { name }: Parameters<Branches['finalizeRestore']>[3],
): Promise<BranchChange> {
  const { id, restoredAs } = await bringBack(context, await getBranchRow(context, principal, projectId, branchId));
  const replaced = restoredAs === null ? undefined : await findBranchRow(context.metadata, projectId, restoredAs);
  if (replaced) await bringBack(context, replaced);
  if (name !== undefined) checkName('name', name);
  const { operations } = await runCommand(context, async (command) => {
    const { tx } = command;
    if (!(await lockProject(tx, projectId))) throw notFound('project', projectId);
    const branch = await findBranchRow(tx, projectId, id);
    if (!branch) throw notFound('branch', branchId);
    if (branch.restoreStatus !== 'restored') {
      const why = branch.restoreStatus === 'finalized' ? 'it is finalized' : 'it was not made from a snapshot';
      throw new PlatformError('CONFLICT', `Cannot finalize the restore of branch ${id}: ${why}`);
    }
    checkReady(branch, 'finalize the restore');
    const target = branch.restoredAs === null ? undefined : await findBranchRow(tx, projectId, branch.restoredAs);
    if (!target) {
      const why = 'the branch that it is to replace is gone';
      throw new PlatformError('CONFLICT', `Cannot finalize the restore of branch ${id}: ${why}`);
    }
    checkReplaceable(target);
    if (name !== undefined) await checkBranchName(tx, { projectId, name, field: 'name' });
    await orderFinalize(command, { branchId: id, target, ...(name !== undefined && { targetName: name }) });
  });
  return { branch: await getBranch(context, principal, projectId, branchId), operations };
}

interface FinalizeOrder {
  readonly branchId: string;
  readonly target: BranchRow;
  /** Of the target, from then on. */
  readonly targetName?: string;
  readonly dependsOn?: readonly string[];
}

/** Part of a transaction that has locked the project and checked both branches. */
export async function orderFinalize(
  { tx, enqueue }: Command,
  { branchId, target, targetName, dependsOn = [] }: FinalizeOrder,
): Promise<void> {
  const { projectId, id: targetId } = target;
  await markResetting(tx, targetId);
  await enqueue(
    finalizeRestoreOperation,
    {
      projectId,
      branchId,
      targetId,
      targetName: targetName ?? null,
      fromTarget: await planReplicaSwaps(tx, targetId),
      fromBranch: await planReplicaSwaps(tx, branchId),
    },
    { projectId, branchId, dependsOn },
  );
}
