import { PlatformError } from '../../kernel/errors.ts';
import { printable } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { BranchChange, Principal } from '../platform.ts';
import { bringBack } from './bring-back.ts';
import { checkReady } from './branch-checks.ts';
import { changeBranch } from './change-branch.ts';
import { getBranch, getBranchRow } from './get-branch.ts';

/** Of a project; the one before is an ordinary branch from then on. @throws PlatformError CONFLICT if it expires */
export async function setDefaultBranch(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
): Promise<BranchChange> {
  await bringBack(context, await getBranchRow(context, principal, projectId, branchId));
  const { operations } = await changeBranch(context, { projectId, branchId }, async ({ tx }, branch) => {
    if (branch.isDefault) return;
    checkReady(branch, 'make it the default');
    if (branch.expiresAt) {
      throw new PlatformError(
        'CONFLICT',
        `Cannot make branch ${printable(branch.name)} the default: it expires. Set branch.expires_at to null first`,
      );
    }
    const updated_at = context.now();
    const ofProject = tx.updateTable('branches').where('project_id', '=', projectId);
    await ofProject.set({ is_default: false, updated_at }).where('is_default', '=', true).execute();
    await ofProject.set({ is_default: true, updated_at }).where('id', '=', branch.id).execute();
  });
  return { branch: await getBranch(context, principal, projectId, branchId), operations };
}
