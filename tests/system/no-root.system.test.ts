import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { must } from '../support/must.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { runOk } from '../support/run.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';

const IS_ROOT = process.getuid?.() === 0;
/** A bare OS user: no name, no home, no groups. Without root the tests run as whoever they are. */
const UID = IS_ROOT ? 1_234_567 : undefined;

let platform: RunningPlatform;
beforeAll(async () => {
  platform = await startPlatform(UID === undefined ? {} : { uid: UID });
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

describe('without root', () => {
  it('does the main job', async () => {
    const { api } = platform;
    const [one, two] = await Promise.all([api.createProject({ name: 'one' }), api.createProject({ name: 'two' })]);
    await psql(one.uri, 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS n');
    await api.suspend(one);
    expect(await psql(one.uri, 'SELECT sum(n) FROM t')).toBe('500500');
    await api.updateEndpoint(one, { suspend_timeout_seconds: 1 });
    await api.untilIdle(one);
    await platform.restart();
    expect(await psql(one.uri, 'SELECT sum(n) FROM t')).toBe('500500');
    expect(await psql(two.uri, 'SELECT 1')).toBe('1');
    const uids = new Set(platform.processes().map((p) => p.uid));
    expect([...uids]).toEqual([UID ?? process.getuid?.()]);
    expect(statSync(platform.dataDir).mode & 0o066).toBe(0);
  });

  it('still keeps tenants apart by passwords on every socket', async () => {
    const { api } = platform;
    const [one, two] = await Promise.all([api.createProject({ name: 'a' }), api.createProject({ name: 'b' })]);
    await psql(two.uri, 'SELECT 1');
    await psql(one.uri, 'CREATE EXTENSION dblink');
    const config = /config_file=(\S+)/.exec(must(platform.compute(two.branchId)).argv.join(' '))?.[1];
    const [, host] = must(/^unix_socket_directories = '(.+)'$/m.exec(readFileSync(must(config), 'utf8')));
    for (const words of [
      `host=${host} user=cloud_admin password=x`,
      `host=${host} user=neondb_owner password=${one.password}`,
    ]) {
      const { code, stderr } = await tryPsql(one.uri, `SELECT dblink_connect('${words} dbname=postgres')`);
      expect(code).not.toBe(0);
      // It got as far as the other compute, which asked for a password.
      expect(stderr).toContain('password authentication failed');
    }
    await Promise.all([one, two].map(async ({ id }) => await api.deleteProject(id)));
  });

  it('says what is weaker', async () => {
    const tenantry = resolve(import.meta.dirname, '../../tenantry');
    const options = UID === undefined ? {} : { uid: UID, env: { HOME: '/tmp' } };
    const report = await runOk(tenantry, ['doctor', '--data-dir', platform.dataDir], options);
    expect(report).toContain('weak  isolation: all computes share one OS user\n');
    expect(report).toMatch(/^weak {2}isolation: no cgroups\n {6}Run Tenantry as root: /m);
    expect(report).toMatch(/^weak {2}storage: copy at .*, full copies\n {6}.*Run as root|^ok {4}storage: /m);
    const status = await runOk(tenantry, ['status', '--data-dir', platform.dataDir], options);
    const { control, host } = platform.ids();
    expect(status).toContain(`control ${control}, host ${host}, gateways `);
  });
});
