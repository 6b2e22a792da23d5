import { spawnSync } from 'node:child_process';
import { run, runOk, type RunOptions, type RunResult } from './run.ts';

/** Nearly every test here looks at the platform through psql. */
export const NO_PSQL = spawnSync('psql', ['--version']).status !== 0;
if (NO_PSQL)
  console.warn('psql is missing, so these tests are skipped; as root: node tests/support/install-clients.ts');

const ENV = { PGCONNECT_TIMEOUT: '30', PGTZ: 'UTC', PSQLRC: '/dev/null' };

/** Runs SQL in psql with a connection string pasted as it is; gives rows as unaligned text. Stops at the first error. */
export async function psql(connection: string, sql: string, options: RunOptions = {}): Promise<string> {
  const args = [connection, '--no-psqlrc', '-v', 'ON_ERROR_STOP=1', '-qAt', '-f', '-'];
  return (await runOk('psql', args, { ...options, env: { ...ENV, ...options.env }, input: sql })).trim();
}

/** The same where a failure is expected or possible. */
export async function tryPsql(connection: string, sql: string, options: RunOptions = {}): Promise<RunResult> {
  const args = [connection, '--no-psqlrc', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-qAt', '-f', '-'];
  return await run('psql', args, { ...options, env: { ...ENV, ...options.env }, input: sql });
}
