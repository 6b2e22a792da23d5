import type { Kysely } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';
import { getBranchRow } from '../branches/get-branch.ts';
import { notFound } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Database, Principal } from '../platform.ts';
import { findDatabaseRow, toDatabase, type DatabaseRow } from './database-rows.ts';

export async function getDatabase(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
  name: string,
): Promise<Database> {
  const branch = await getBranchRow(context, principal, projectId, branchId);
  return toDatabase(await getDatabaseRow(context.metadata, branch.id, name));
}

/** @throws PlatformError NOT_FOUND also for a database that is being dropped */
export async function getDatabaseRow(db: Kysely<Tables>, branchId: string, name: string): Promise<DatabaseRow> {
  const database = await findDatabaseRow(db, branchId, name);
  if (!database || database.isDeleting) throw notFound('database', name);
  return database;
}
