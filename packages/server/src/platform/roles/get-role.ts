import type { Kysely } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';
import { getBranchRow } from '../branches/get-branch.ts';
import { notFound } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Principal, Role } from '../platform.ts';
import { findRoleRow, toRole, type RoleRow } from './role-rows.ts';

export async function getRole(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
  name: string,
): Promise<Role> {
  const branch = await getBranchRow(context, principal, projectId, branchId);
  return toRole(await getRoleRow(context.metadata, branch.id, name));
}

/** @throws PlatformError NOT_FOUND also for a role that is being dropped */
export async function getRoleRow(db: Kysely<Tables>, branchId: string, name: string): Promise<RoleRow> {
  const role = await findRoleRow(db, branchId, name);
  if (!role || role.isDeleting) throw notFound('role', name);
  return role;
}
