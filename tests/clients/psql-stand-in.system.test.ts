import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TestProject } from '../support/api.ts';
import { runSql } from '../support/psql-stand-in.ts';
import { tryPsql } from '../support/psql.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { skipWithout } from '../support/tools.ts';
import { withDatabase, withParameters, withRole } from '../support/uri.ts';

/** On a machine without psql node-postgres runs the SQL of all these tests: it must say what psql says. */

let platform: RunningPlatform;
let project: TestProject;
beforeAll(async () => {
  platform = await startPlatform();
  project = await platform.api.createProject({ name: 'stand-in' });
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

const SCRIPTS = [
  `SELECT 1, NULL, true, 1.50::numeric, '\\x00ff'::bytea, timestamptz '2026-01-02 03:04:05+00', ARRAY['a b', NULL]`,
  `SHOW work_mem; SHOW TimeZone; SELECT 'a;b', $q$ x; 'y' $q$; -- a comment; with a semicolon`,
  'CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 3) RETURNING n; VACUUM t; BEGIN; DELETE FROM t; ROLLBACK; SELECT count(*) FROM t; DROP TABLE t',
  'SELECT 1; SELECT 1/0; SELECT 2',
  `DO $$ BEGIN RAISE NOTICE 'seen'; RAISE EXCEPTION 'told' USING DETAIL = 'more', HINT = 'do'; END $$`,
  'SELECT pg_terminate_backend(pg_backend_pid())',
];

/** What tests look at: exit code, output, and of the errors severity, SQLSTATE, text, detail and hint. */
async function outcome(of: typeof runSql, uri: string, sql: string): Promise<unknown> {
  const { code, stdout, stderr } = await of(uri, sql, 60_000);
  const lines = [...stderr.matchAll(/(?:ERROR|FATAL|NOTICE|DETAIL|HINT): .*/g)].map(([line]) => line);
  // psql tries a refused login again without TLS, and is refused again.
  return { code, stdout, lines: [...new Set(lines)] };
}

it('says what psql says', async (context) => {
  skipWithout('psql', context);
  const real: typeof runSql = async (uri, sql, timeoutMs) => await tryPsql(uri, sql, { timeoutMs });
  for (const sql of SCRIPTS)
    expect(await outcome(runSql, project.uri, sql)).toEqual(await outcome(real, project.uri, sql));
  const refused = [
    withDatabase(project.uri, 'nothing'),
    withRole(project.uri, 'neondb_owner', 'wrong'),
    withParameters(project.uri, { replication: 'true' }),
  ];
  for (const uri of refused)
    expect(await outcome(runSql, uri, 'SELECT 1')).toEqual(await outcome(real, uri, 'SELECT 1'));
});
