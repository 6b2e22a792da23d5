import type { Role as RoleSchema } from '@tenantry/contract/role.ts';
import type { Static } from 'typebox';
import type { Secret } from '../../kernel/secret.ts';
import type { Role } from '../../platform/platform.ts';
import { toTimestamp } from './timestamp.ts';

/** `password` only where it was made by this very request. */
export function presentRole(role: Role, password?: Secret): Static<typeof RoleSchema> {
  return {
    branch_id: role.branchId,
    name: role.name,
    ...(password && { password: password.reveal() }),
    protected: role.isProtected,
    created_at: toTimestamp(role.createdAt),
    updated_at: toTimestamp(role.updatedAt),
  };
}
