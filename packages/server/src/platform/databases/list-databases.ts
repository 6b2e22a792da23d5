import { getBranchRow } from '../branches/get-branch.ts';
import type { PlatformContext } from '../context.ts';
import type { Database, Principal } from '../platform.ts';
import { listDatabaseRows, toDatabase } from './database-rows.ts';

export async function listDatabases(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
): Promise<readonly Database[]> {
  const branch = await getBranchRow(context, principal, projectId, branchId);
  return (await listDatabaseRows(context.metadata, branch.id)).filter((row) => !row.isDeleting).map(toDatabase);
}
