import type { Tables } from '../../metadata/tables.ts';
import type { Transaction } from 'kysely';
import { lockBranch } from '../catalog/catalog-change-rows.ts';
import { notFound } from '../checks.ts';
import { runCommand, type Command } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import type { Operation } from '../platform.ts';
import { lockProject } from '../projects/project-rows.ts';
import type { BranchRow } from './branch-rows.ts';
import { findBranchRow } from './branch-rows.ts';

interface BranchTarget {
  readonly projectId: string;
  readonly branchId: string;
  readonly includeDeleted?: boolean;
}

/**
 * The frame of commands that change a branch: hands them the branch as it is while the branches of the project are
 * theirs alone. Access is checked by the caller.
 * @throws PlatformError NOT_FOUND
 */
export async function changeBranch<T>(
  context: PlatformContext,
  target: BranchTarget,
  work: (command: Command, branch: BranchRow) => Promise<T>,
): Promise<{ readonly value: T; readonly operations: readonly Operation[] }> {
  return runCommand(context, async (command) => work(command, await lockBranchRow(command.tx, target)));
}

/** The project first, as all do who look at more than one of its branches. @throws PlatformError NOT_FOUND */
async function lockBranchRow(
  tx: Transaction<Tables>,
  { projectId, branchId, includeDeleted = false }: BranchTarget,
): Promise<BranchRow> {
  if (!(await lockProject(tx, projectId))) throw notFound('project', projectId);
  await lockBranch(tx, branchId);
  const branch = await findBranchRow(tx, projectId, branchId, { includeDeleted });
  if (!branch) throw notFound('branch', branchId);
  return branch;
}
