import type { Kysely } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';

/** Whether the project keeps role passwords, to show them again. */
export function getPasswordPolicy(
  db: Kysely<Tables>,
  projectId: string,
): Promise<{ readonly storePasswords: boolean }> {
  return db
    .selectFrom('projects')
    .select('store_passwords as storePasswords')
    .where('id', '=', projectId)
    .executeTakeFirstOrThrow();
}
