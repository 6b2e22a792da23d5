import { PlatformError } from '../kernel/errors.ts';
import type { BackupSession } from '../storage/volume-store.ts';
import type { ComputeConnection } from './connection.ts';

/** A checkpoint of many dirty buffers is a part of the start. */
const STATEMENT_TIMEOUT = '10min';

/**
 * Postgres' low-level backup API, in its non-exclusive form, on a session of its own. From 15 on its functions have
 * other names (and no exclusive form).
 */
export function backupSessionOn(connection: ComputeConnection, pgVersion: number): BackupSession {
  const [start, stop] =
    pgVersion >= 15
      ? ['pg_backup_start($1, true)', 'pg_backup_stop(false)']
      : ['pg_start_backup($1, true, false)', 'pg_stop_backup(false, false)'];
  return {
    async start(label) {
      await connection.query(`SET statement_timeout = '${STATEMENT_TIMEOUT}'`);
      await connection.query(`SELECT ${start}`, [label]);
    },
    async stop() {
      const { rows } = await connection.query<[string, string]>({
        rowMode: 'array',
        text: `SELECT labelfile, lsn - '0/0'::pg_lsn FROM ${stop}`,
      });
      if (!rows[0]) throw new PlatformError('INTERNAL', 'Cannot end the backup: no answer');
      const [label, lsn] = rows[0];
      return { label, lsn: BigInt(lsn) };
    },
    async close() {
      await connection.end().catch(() => undefined);
    },
  };
}
