import { getBranchRow } from '../branches/get-branch.ts';
import type { PlatformContext } from '../context.ts';
import type { Principal, Role } from '../platform.ts';
import { listRoleRows } from './role-rows.ts';

export async function listRoles(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
): Promise<readonly Role[]> {
  const branch = await getBranchRow(context, principal, projectId, branchId);
  return listRoleRows(context.metadata, branch.id);
}
