import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { withDeadline } from '../kernel/wait.ts';
import type { ComputeConnection } from './connection.ts';

const FLUSH_MS = 1000;
/** The commit of a message is waited for (`synchronous_commit` of our sessions), and with it all WAL before it. */
const FLUSH_QUERY = `SELECT pg_logical_emit_message(true, 'tenantry', '')`;

/**
 * Whether a compute can be stopped as by a crash (an immediate shutdown), so that the checkpoint of a clean stop is saved:
 * what it would write is in the WAL. Flushes the WAL last, for commits that did not wait for it (`synchronous_commit=off`):
 * only one between the flush and the stop can be lost. False where a relation is unlogged, as crash recovery would empty
 * it, and where Postgres does not answer in a second.
 */
export async function canSkipCheckpoint(dataPath: string, connection: ComputeConnection): Promise<boolean> {
  try {
    if (await hasUnloggedRelation(dataPath)) return false;
    await withDeadline('flush the WAL', FLUSH_MS, async () => await connection.query(FLUSH_QUERY));
    return true;
  } catch {
    return false;
  }
}

/** Only unlogged relations have an init fork. @see https://www.postgresql.org/docs/current/storage-init.html */
async function hasUnloggedRelation(dataPath: string): Promise<boolean> {
  const databases = join(dataPath, 'base');
  for (const database of await readdir(databases)) {
    const names = await readdir(join(databases, database));
    if (names.some((name) => name.endsWith('_init'))) return true;
  }
  return false;
}
