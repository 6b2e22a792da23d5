import { must } from '../../kernel/assert.ts';
import { isId, notFound } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Branch, Principal } from '../platform.ts';
import { getProjectAccess } from '../projects/project-access.ts';
import { findBranchRow, type BranchRow } from './branch-rows.ts';
import { withUsage } from './with-usage.ts';

/** @throws PlatformError NOT_FOUND */
export async function getBranch(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
): Promise<Branch> {
  const [branch] = await withUsage(context, [await getBranchRow(context, principal, projectId, branchId)]);
  return must(branch, 'as many branches as rows');
}

/** The check that a principal may see and change a branch and all below it. @throws PlatformError NOT_FOUND */
export async function getBranchRow(
  { metadata }: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
): Promise<BranchRow> {
  await getProjectAccess(metadata, principal, projectId);
  const row = isId(branchId) ? await findBranchRow(metadata, projectId, branchId) : undefined;
  if (!row) throw notFound('branch', branchId);
  return row;
}
