import { createHash } from 'node:crypto';
import { sql, type Kysely, type Transaction } from 'kysely';
import type { OrganizationId } from '@tenantry/contract/ids.ts';
import type { Tables } from '../../metadata/tables.ts';
import type { ApiKey } from '../platform.ts';

/** What is stored of a key. One fast hash: nobody can guess 240 random bits. */
export const hashApiKey = (key: string): Buffer => createHash('sha256').update(key).digest();

export interface KnownApiKey {
  readonly apiKeyId: number;
  readonly userId: string;
  /** Null: a personal key. */
  readonly organizationId: OrganizationId | null;
  readonly projectId: string | null;
}

/** Undefined for a key that is revoked, or never was. */
export async function findApiKeyByHash(db: Kysely<Tables>, hash: Buffer): Promise<KnownApiKey | undefined> {
  const row = await db
    .selectFrom('api_keys')
    .select(['id', 'created_by_user_id', 'organization_id', 'project_id'])
    .where('hash', '=', hash)
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return (
    row && {
      apiKeyId: Number(row.id),
      userId: row.created_by_user_id,
      organizationId: row.organization_id as OrganizationId | null,
      projectId: row.project_id,
    }
  );
}

const selectPersonal = (db: Kysely<Tables>, userId: string) =>
  db
    .selectFrom('api_keys')
    .innerJoin('users', 'users.id', 'api_keys.created_by_user_id')
    .select([
      'api_keys.id',
      'api_keys.name',
      'api_keys.origin',
      'api_keys.created_at',
      'api_keys.created_by_user_id',
      'api_keys.last_used_at',
      'api_keys.last_used_from_address',
      'users.name as created_by_name',
    ])
    .where('api_keys.created_by_user_id', '=', userId)
    .where('api_keys.organization_id', 'is', null)
    .where('api_keys.revoked_at', 'is', null);

/** A user's personal keys, oldest first. */
export async function listApiKeyRows(db: Kysely<Tables>, userId: string): Promise<readonly ApiKey[]> {
  return (await selectPersonal(db, userId).orderBy('api_keys.id').execute()).map(toApiKey);
}

export async function findApiKeyRow(
  db: Kysely<Tables>,
  userId: string,
  apiKeyId: number,
): Promise<(ApiKey & { readonly origin: 'operator' | 'api' }) | undefined> {
  const row = await selectPersonal(db, userId).where('api_keys.id', '=', String(apiKeyId)).executeTakeFirst();
  return row && { ...toApiKey(row), origin: row.origin };
}

/** @returns the key's id */
export async function insertApiKey(
  db: Kysely<Tables>,
  key: { readonly hash: Buffer; readonly name: string; readonly userId: string },
): Promise<number> {
  const { id } = await db
    .insertInto('api_keys')
    .values({ hash: key.hash, name: key.name, origin: 'api', created_by_user_id: key.userId })
    .returning('id')
    .executeTakeFirstOrThrow();
  return Number(id);
}

/** False if it was revoked before. */
export async function markApiKeyRevoked(db: Kysely<Tables>, apiKeyId: number): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('api_keys')
    .set({ revoked_at: sql`now()` })
    .where('id', '=', String(apiKeyId))
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

export async function markApiKeyUsed(
  db: Kysely<Tables>,
  apiKeyId: number,
  { usedAt, fromAddress }: { readonly usedAt: Date; readonly fromAddress: string },
): Promise<void> {
  await db
    .updateTable('api_keys')
    .set({ last_used_at: usedAt, last_used_from_address: fromAddress })
    .where('id', '=', String(apiKeyId))
    .execute();
}

/** The operator has one key: the one given now. A key that was theirs before works again. */
export async function replaceOperatorKey(
  tx: Transaction<Tables>,
  { hash, userId }: { readonly hash: Buffer; readonly userId: string },
): Promise<void> {
  await tx
    .updateTable('api_keys')
    .set({ revoked_at: sql`now()` })
    .where('origin', '=', 'operator')
    .where('revoked_at', 'is', null)
    .where('hash', '!=', hash)
    .execute();
  await tx
    .insertInto('api_keys')
    .values({ hash, name: 'operator', origin: 'operator', created_by_user_id: userId })
    .onConflict((conflict) => conflict.column('hash').doUpdateSet({ origin: 'operator', revoked_at: null }))
    .execute();
}

interface SelectedRow {
  readonly id: string;
  readonly name: string;
  readonly created_at: Date;
  readonly created_by_user_id: string;
  readonly created_by_name: string;
  readonly last_used_at: Date | null;
  readonly last_used_from_address: string | null;
}

const toApiKey = (row: SelectedRow): ApiKey => ({
  id: Number(row.id),
  name: row.name,
  createdAt: row.created_at,
  createdByUserId: row.created_by_user_id,
  createdByName: row.created_by_name,
  lastUsedAt: row.last_used_at,
  lastUsedFromAddress: row.last_used_from_address,
});
