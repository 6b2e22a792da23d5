import type { Database as DatabaseSchema } from '@tenantry/contract/database.ts';
import type { Static } from 'typebox';
import type { Database } from '../../platform/platform.ts';
import { toTimestamp } from './timestamp.ts';

export function presentDatabase(database: Database): Static<typeof DatabaseSchema> {
  return {
    id: database.id,
    branch_id: database.branchId,
    name: database.name,
    owner_name: database.ownerName,
    created_at: toTimestamp(database.createdAt),
    updated_at: toTimestamp(database.updatedAt),
  };
}
