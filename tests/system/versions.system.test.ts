import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { outcomeOf, SQL_ATTACKS } from '../security/sql-attacks.ts';
import { Api, type ApiFailure, type CreatedProject, type TestProject } from '../support/api.ts';
import { must } from '../support/must.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { run } from '../support/run.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { withDatabase, withRole } from '../support/uri.ts';
import { waitUntil } from '../support/wait-until.ts';

const TENANTRY = resolve(import.meta.dirname, '../../tenantry');

let platform: RunningPlatform;
beforeAll(async () => {
  platform = await startPlatform();
  await installTheRest();
  // Four downloads of 20 MB.
}, 600_000);
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

  await psql(
    project.uri,
    `CREATE ROLE by_sql LOGIN PASSWORD 'made-by-sql'; GRANT SELECT ON kept TO by_sql; CREATE DATABASE made_by_sql`,
  );
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

/** 14 is published for linux-x64 only. */
const VERSIONS = [14, 15, 16, 17, 18].filter(
  (version) => version !== 14 || (process.platform === 'linux' && process.arch === 'x64'),
);

/** Why a version cannot be shown here. */
const lacks = new Map<number, string>();

/** Installs what is not here by the very command that the error names, into the running platform. */
async function installTheRest(): Promise<void> {
  for (const pgVersion of VERSIONS) {
    const answer = await platform.api.request<CreatedProject & ApiFailure>('POST', '/projects', {
      project: { pg_version: pgVersion },
    });
    if (answer.status === 201) {
      await platform.api.deleteProject(answer.body.project.id);
      continue;
    }
    expect(answer).toMatchObject({ status: 400, body: { code: 'ENGINE_NOT_INSTALLED' } });
    const command = /\.\/tenantry (engine install \d+)/.exec(answer.body.message);
    const words = [...must(command?.[1], 'a command').split(' '), '--data-dir', platform.dataDir];
    const { code, stdout, stderr } = await run(TENANTRY, words, { timeoutMs: 120_000 });
    if (/registry cannot be reached/.test(stderr)) {
      lacks.set(pgVersion, `Postgres ${pgVersion} is not installed and the npm registry cannot be reached`);
    } else expect(code, stderr).toBe(0);
    console.log((stdout + stderr).trim().split('\n').at(-1));
  }
}

describe.each(VERSIONS)('Postgres %i', (pgVersion) => {
  it('serves a project through its life', async ({ skip }) => {
    skip(lacks.has(pgVersion), lacks.get(pgVersion));
    const { engines } = (await new Api(platform.origin, platform.api.key).call<Status>('GET', '/status')).host;
    const engine = must(
      engines.find((each) => each.pgVersion === pgVersion),
      `an engine of Postgres ${pgVersion}`,
    );
    expect(engine.fullVersion).toMatch(new RegExp(`^${pgVersion}\\.\\d+`));
    await useOf(pgVersion, engine.fullVersion);
  });

  it('refuses every attack of a tenant', async ({ skip }) => {
    skip(lacks.has(pgVersion), lacks.get(pgVersion));
    const { id, uri } = await platform.api.createProject({ pg_version: pgVersion });
    expect(await psql(uri, `SELECT current_setting('server_version_num')::int / 10000`)).toBe(String(pgVersion));
    const outcomes: string[] = [];
    for (const attack of SQL_ATTACKS) outcomes.push(`${attack.name}: ${await outcomeOf(attack, uri)}`);
    expect(outcomes.filter((text) => !text.endsWith(': refused'))).toEqual([]);
    await platform.api.deleteProject(id);
  });
});
