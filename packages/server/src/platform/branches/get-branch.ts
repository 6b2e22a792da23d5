import type { Kysely } from 'kysely';
import { must } from '../../kernel/assert.ts';
import type { Tables } from '../../metadata/tables.ts';
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
  return getBranchRowIn(metadata, projectId, branchId);
}

/** Without a look at who asks. @throws PlatformError NOT_FOUND */
export async function getBranchRowIn(db: Kysely<Tables>, projectId: string, branchId: string): Promise<BranchRow> {
  const row = isId(branchId) ? await findBranchRow(db, projectId, branchId) : undefined;
  if (!row) throw notFound('branch', branchId);
  return row;
}
