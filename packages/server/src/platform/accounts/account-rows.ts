import { sql, type Kysely, type Transaction } from 'kysely';
import type { OrganizationId } from '@tenantry/contract/ids.ts';
import type { Tables } from '../../metadata/tables.ts';
import type { Organization, User } from '../platform.ts';

export async function getUser(db: Kysely<Tables>, userId: string): Promise<User> {
  return db
    .selectFrom('users')
    .select(['id', 'email', 'login', 'name', 'projects_limit as projectsLimit'])
    .where('id', '=', userId)
    .executeTakeFirstOrThrow();
}

export async function listOrganizations(db: Kysely<Tables>, ids: readonly string[]): Promise<readonly Organization[]> {
  if (ids.length === 0) return [];
  const rows = await db
    .selectFrom('organizations')
    .select(['id', 'name', 'handle', 'plan', 'created_at', 'updated_at'])
    .where('id', 'in', ids)
    .orderBy('name')
    .execute();
  return rows.map((row) => ({
    id: row.id as OrganizationId,
    name: row.name,
    handle: row.handle,
    plan: row.plan,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }));
}

export async function listOrganizationIdsOf(db: Kysely<Tables>, userId: string): Promise<readonly OrganizationId[]> {
  const rows = await db
    .selectFrom('memberships')
    .select('organization_id')
    .where('user_id', '=', userId)
    .orderBy('organization_id')
    .execute();
  return rows.map((row) => row.organization_id as OrganizationId);
}

/** The operator of the installation; undefined before the first start. */
export async function findFirstUserId(tx: Transaction<Tables>): Promise<string | undefined> {
  const row = await tx.selectFrom('users').select('id').orderBy('created_at').orderBy('id').executeTakeFirst();
  return row?.id;
}

export async function insertFirstAccount(
  tx: Transaction<Tables>,
  { userId, organizationId }: { readonly userId: string; readonly organizationId: OrganizationId },
): Promise<void> {
  await tx
    .insertInto('users')
    .values({ id: userId, email: 'admin@localhost', login: 'admin', name: 'Admin' })
    .execute();
  await tx
    .insertInto('organizations')
    .values({ id: organizationId, name: 'Tenantry', handle: organizationId, plan: 'scale' })
    .execute();
  await tx
    .insertInto('memberships')
    .values({ user_id: userId, organization_id: organizationId, role: 'admin' })
    .execute();
}

/** Two processes that start at once: the second sees what the first has made. */
export async function lockAccounts(tx: Transaction<Tables>): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('tenantry.accounts', 0))`.execute(tx);
}
