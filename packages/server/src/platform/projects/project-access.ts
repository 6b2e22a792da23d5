import type { Kysely } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';
import { isId, notFound } from '../checks.ts';
import type { Principal } from '../platform.ts';

/**
 * The one check that a principal may see and change a project and all below it.
 * @throws PlatformError NOT_FOUND also for a project of another organization, or one that is being deleted
 */
export async function getProjectAccess(db: Kysely<Tables>, principal: Principal, projectId: string): Promise<void> {
  const row = isId(projectId) && mayName(principal, projectId) ? await findOwned(db, principal, projectId) : undefined;
  if (!row) throw notFound('project', projectId);
}

const mayName = (principal: Principal, projectId: string): boolean =>
  principal.kind !== 'project' || principal.projectId === projectId;

function findOwned(db: Kysely<Tables>, { organizationIds }: Principal, projectId: string) {
  if (organizationIds.length === 0) return undefined;
  return db
    .selectFrom('projects')
    .select('id')
    .where('id', '=', projectId)
    .where('organization_id', 'in', organizationIds)
    .where('deleted_at', 'is', null)
    .executeTakeFirst();
}
