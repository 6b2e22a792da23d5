import type { Transaction } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';

/** A host is known from its first project on. */
export async function ensureHost(tx: Transaction<Tables>, hostId: string): Promise<void> {
  await tx
    .insertInto('hosts')
    .values({ id: hostId })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}
