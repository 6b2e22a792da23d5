import { PlatformError } from '../../kernel/errors.ts';
import { isId, notFound, printable } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { BranchChange, Principal } from '../platform.ts';
import { getProjectAccess } from '../projects/project-access.ts';
import { markBranchRecovered } from './branch-changes.ts';
import { countBranches, findBranchRow, hasBranchName } from './branch-rows.ts';
import { changeBranch } from './change-branch.ts';
import { tellEndpoints } from './delete-branch.ts';
import { getBranch } from './get-branch.ts';
import { checkBranchLimits } from './new-branch.ts';

/**
 * Takes a deletion back: endpoints and connection strings are as before, an expiration is forgotten. If another branch
 * has its name by now, it is called as its id.
 * @throws PlatformError NOT_FOUND, CONFLICT if it was not deleted or its parent is
 */
export async function recoverBranch(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
): Promise<BranchChange> {
  await getProjectAccess(context.metadata, principal, projectId);
  if (!isId(branchId)) throw notFound('branch', branchId);
  const target = { projectId, branchId, includeDeleted: true };
  const { operations } = await changeBranch(context, target, async (command, branch) => {
    const { tx } = command;
    const { id, name, parentId, recoverableUntil } = branch;
    const refuse = (why: string): PlatformError =>
      new PlatformError('CONFLICT', `Cannot recover branch ${printable(name)}: ${why}`);
    if (!recoverableUntil) throw refuse('it is not deleted');
    if (recoverableUntil <= context.now()) throw notFound('branch', branchId);
    if (parentId !== null && !(await findBranchRow(tx, projectId, parentId))) {
      throw refuse('its parent is deleted. Recover that first');
    }
    checkBranchLimits(await countBranches(tx, projectId), { isRoot: parentId === null, isProtected: false });
    await markBranchRecovered(tx, id, (await hasBranchName(tx, projectId, name)) ? id : name);
    await tellEndpoints(command, branch);
  });
  return { branch: await getBranch(context, principal, projectId, branchId), operations };
}
