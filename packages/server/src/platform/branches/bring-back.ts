import { runCommand } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { lockProject } from '../projects/project-rows.ts';
import { unarchiveBranchOperation } from './archive-operation.ts';
import { setPendingArchived } from './archive-rows.ts';
import { findBranchRow, type BranchRow } from './branch-rows.ts';

/**
 * A branch that is about to be read or changed, brought back first if it is archived. If that takes longer than clients
 * wait it is given as it is then, still archived.
 * @throws PlatformError NO_SPACE
 */
export async function bringBack(context: PlatformContext, branch: BranchRow): Promise<BranchRow> {
  if (branch.state !== 'archived') return branch;
  const { id: branchId, projectId } = branch;
  await runCommand(
    context,
    async (command) => {
      const { tx } = command;
      await lockProject(tx, projectId);
      if ((await findBranchRow(tx, projectId, branchId))?.state !== 'archived') return;
      await setPendingArchived(tx, branchId, 'ready');
      await command.enqueue(unarchiveBranchOperation, { branchId }, { projectId, branchId });
    },
    context.settings.createWaitMs,
  );
  return (await findBranchRow(context.metadata, projectId, branchId)) ?? branch;
}
