import type { ComputeConnection } from './connection.ts';
import type { CatalogSession } from './catalog.ts';
import { quoteIdentifier } from './quoting.ts';

/** `datconnlimit` of a database whose DROP was interrupted: nobody can connect to it. */
const INVALID_DATABASE = -2;

/**
 * Ends the subscriptions of a clone, which are its parent's: a second subscriber would take changes from the slot that
 * the parent waits for. All are disabled at once, in the shared catalog, without a word to the publisher; then they are
 * dropped, database by database.
 * @returns how many there were
 */
export async function dropSubscriptions({ connection, connect }: CatalogSession): Promise<number> {
  const { rows } = await connection.query<[string, string]>({
    rowMode: 'array',
    text: `SELECT datname, subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
      WHERE datallowconn AND datconnlimit <> ${INVALID_DATABASE}`,
  });
  if (rows.length === 0) return 0;
  await connection.query('UPDATE pg_subscription SET subenabled = false, subslotname = NULL');
  for (const database of new Set(rows.map(([datname]) => datname))) {
    const names = rows.filter(([datname]) => datname === database).map(([, subname]) => subname);
    const inside = await connect(database);
    try {
      await dropIn(inside, names);
    } finally {
      await inside.end();
    }
  }
  return rows.length;
}

async function dropIn(connection: ComputeConnection, names: readonly string[]): Promise<void> {
  // A table whose first copy is not done would have DROP connect to the publisher and remove the parent's slots there.
  await connection.query('DELETE FROM pg_subscription_rel');
  for (const name of names) await connection.query(`DROP SUBSCRIPTION ${quoteIdentifier(name)}`);
}
