import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Api, type TestProject } from '../support/api.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { withDatabase, withRole } from '../support/uri.ts';
import { waitUntil } from '../support/wait-until.ts';

let platform: RunningPlatform;
beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

interface Status {
  readonly host: { readonly engines: readonly { readonly pgVersion: number; readonly fullVersion: string }[] };
}

async function isAsleep(project: TestProject): Promise<void> {
  await platform.api.untilIdle(project);
  expect(platform.compute(project.branchId)).toBeUndefined();
}

/** What each version must do; one after the other. */
async function useOf(pgVersion: number, fullVersion: string): Promise<void> {
  const { api } = platform;
  const project = await api.createProject({ name: `v${pgVersion}`, pg_version: pgVersion });
  expect(await psql(project.uri, 'SHOW server_version')).toContain(fullVersion);
  await psql(project.uri, 'CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n');

  const role = await api.createRole(project, 'app');
  await api.createDatabase(project, 'shop', 'app');
  const appUri = withDatabase(withRole(project.uri, 'app', role.password ?? ''), 'shop');
  expect(await psql(appUri, `CREATE TABLE t (n int); SELECT current_user, current_database()`)).toBe('app|shop');

  await psql(project.uri, `CREATE ROLE by_sql LOGIN PASSWORD 'made-by-sql'; GRANT SELECT ON kept TO by_sql`);
  const bySqlUri = withRole(project.uri, 'by_sql', 'made-by-sql');
  expect(await psql(bySqlUri, 'SELECT count(*) FROM kept')).toBe('1000');

  await api.suspend(project);
  await isAsleep(project);
  expect(await psql(bySqlUri, 'SELECT count(*) FROM kept')).toBe('1000');

  await api.updateEndpoint(project, { settings: { pg_settings: { WORK_MEM: '7MB', max_prepared_transactions: '5' } } });
  await waitUntil('the settings', async () => {
    const { stdout } = await tryPsql(project.uri, 'SHOW work_mem; SHOW max_prepared_transactions');
    return stdout.trim() === '7MB\n5';
  });
  expect((await api.endpoint(project)).settings.pg_settings).toEqual({
    work_mem: '7MB',
    max_prepared_transactions: '5',
  });

  await api.updateEndpoint(project, { suspend_timeout_seconds: 1 });
  await psql(project.uri, 'SELECT 1');
  await isAsleep(project);
  expect(await psql(appUri, 'SELECT count(*) FROM t')).toBe('0');

  await api.deleteProject(project.id);
  await waitUntil('nothing left', () => platform.compute(project.branchId) === undefined, 20_000);
}

describe('every Postgres version that is here', () => {
  it('serves a project through its life', async () => {
    const { engines } = (await new Api(platform.origin, platform.api.key).call<Status>('GET', '/status')).host;
    expect(engines.map(({ pgVersion }) => pgVersion)).toContain(17);
    for (const { pgVersion, fullVersion } of engines) {
      console.log(`Postgres ${fullVersion}`);
      await useOf(pgVersion, fullVersion);
    }
  });
});
