import { runSql } from './psql-stand-in.ts';
import { run, type RunResult } from './run.ts';
import { isMissing } from './tools.ts';

export interface SqlOptions {
  readonly timeoutMs?: number;
}

const ENV = { PGCONNECT_TIMEOUT: '30', PGTZ: 'UTC', PSQLRC: '/dev/null' };
const ARGS = ['--no-psqlrc', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-qAt', '-f', '-'];

/**
 * Runs SQL in psql with a connection string pasted as it is; gives rows as unaligned text. Stops at the first error.
 * Where psql is missing node-postgres stands in, with the same results.
 * @throws Error with all that it said
 */
export async function psql(connection: string, sql: string, options: SqlOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await tryPsql(connection, sql, options);
  if (code !== 0) throw new Error(`psql ${connection} ended with ${code}\n${stdout}\n${stderr}`);
  return stdout.trim();
}

/** The same where a failure is expected or possible. */
export async function tryPsql(connection: string, sql: string, options: SqlOptions = {}): Promise<RunResult> {
  if (isMissing('psql')) return await runSql(connection, sql, options.timeoutMs ?? 60_000);
  return await run('psql', [connection, ...ARGS], { ...options, env: ENV, input: sql });
}
