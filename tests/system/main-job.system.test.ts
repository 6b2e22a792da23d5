import { readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asTestProject, type CreatedProject, type TestProject } from '../support/api.ts';
import { must } from '../support/must.ts';
import { withDescendants } from '../support/os-processes.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { run, runOk } from '../support/run.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { withDatabase } from '../support/uri.ts';
import { waitUntil } from '../support/wait-until.ts';

let platform: RunningPlatform;

beforeAll(async () => {
  // A private parent directory, as the home of root is: tenants' OS users cannot walk through it.
  platform = await startPlatform({ parentMode: 0o700 });
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

const SCHEMA = `
  CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
  CREATE TABLE orders (id bigserial PRIMARY KEY, customer_id int REFERENCES customers, total numeric(10,2), placed timestamptz DEFAULT now());
  CREATE INDEX ON orders (customer_id);
  INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(1, 1000) i;
  INSERT INTO orders (customer_id, total) SELECT 1 + i % 1000, i / 7.0 FROM generate_series(1, 20000) i;`;
const FINGERPRINT = `
  SELECT md5(string_agg(c::text, ',' ORDER BY id)) FROM customers c;
  SELECT count(*), sum(total), md5(string_agg(o::text, ',' ORDER BY id)) FROM orders o;`;

describe('the main job', () => {
  it('serves a project from sign-up through sleep and back', async () => {
    const { api } = platform;
    const began = performance.now();
    const created = await api.request<CreatedProject>('POST', '/projects', {
      project: { name: 'tenant-acme-corp', region_id: 'aws-us-east-2' },
    });
    const createdMs = performance.now() - began;
    expect(created.status).toBe(201);
    const { body } = created;
    expect(body.project).toMatchObject({ name: 'tenant-acme-corp', region_id: 'aws-us-east-2', pg_version: 17 });
    expect(body.branch).toMatchObject({ name: 'main', default: true });
    expect(body.roles).toEqual([expect.objectContaining({ name: 'neondb_owner', password: expect.any(String) })]);
    expect(body.databases).toEqual([expect.objectContaining({ name: 'neondb', owner_name: 'neondb_owner' })]);
    const project = asTestProject(body);

    expect(await psql(project.uri, 'SELECT 1')).toBe('1');
    console.log(`create ${createdMs.toFixed(0)} ms, to first row ${(performance.now() - began).toFixed(0)} ms`);
    await psql(project.uri, SCHEMA);
    const before = await psql(project.uri, FINGERPRINT);

    await api.suspend(project);
    expect(platform.compute(project.branchId)).toBeUndefined();
    await expectAwakeAndIntact(project, before, 'after the API suspended it');

    await api.updateEndpoint(project, { suspend_timeout_seconds: 1 });
    await psql(project.uri, 'SELECT 1');
    await waitUntil('no compute process', () => platform.compute(project.branchId) === undefined, 20_000);
    await api.untilIdle(project);
    await expectAwakeAndIntact(project, before, 'after it fell asleep by itself');

    const templates = await templatesOf(platform);
    await platform.restart();
    await expectAwakeAndIntact(project, before, 'after the platform restarted');
    expect(await templatesOf(platform), 'templates are made once').toEqual(templates);
  });

  it('lists, gets and updates projects', async () => {
    const { api } = platform;
    const names = ['page-a', 'page-b', 'page-c'];
    const made = await Promise.all(names.map((name) => api.createProject({ name })));
    const ids = (await api.projects()).map((p) => p.id);
    for (const { id } of made) expect(ids).toContain(id);

    type Page = { projects: { id: string; name: string }[]; pagination?: { cursor?: string } };
    const first = await api.call<Page>('GET', '/projects?limit=2&search=page-');
    expect(first.projects).toHaveLength(2);
    const cursor = encodeURIComponent(first.pagination?.cursor ?? '');
    const second = await api.call<Page>('GET', `/projects?limit=2&search=page-&cursor=${cursor}`);
    expect([...first.projects, ...second.projects].map((p) => p.name).sort()).toEqual(names);

    const [project] = made as [TestProject];
    await api.call('PATCH', `/projects/${project.id}`, { project: { name: 'renamed' } });
    expect((await api.call<CreatedProject>('GET', `/projects/${project.id}`)).project.name).toBe('renamed');
    const branches = await api.call<{ branches: { id: string }[] }>('GET', `/projects/${project.id}/branches`);
    expect(branches.branches.map((b) => b.id)).toEqual([project.branchId]);
    expect((await api.branch(project)).current_state).toBe('ready');
    const [operation] = await api.operations(project.id);
    const one = await api.call<{ operation: { id: string; status: string } }>(
      'GET',
      `/projects/${project.id}/operations/${operation?.id}`,
    );
    expect(one.operation).toMatchObject({ id: operation?.id, status: 'finished' });
    for (const { id } of made) await api.deleteProject(id);
  });

  it('makes, changes and drops roles and databases, awake and asleep', async () => {
    const { api } = platform;
    const project = await api.createProject({ name: 'roles' });
    const base = `/projects/${project.id}/branches/${project.branchId}`;
    for (const state of ['awake', 'asleep']) {
      if (state === 'awake') await psql(project.uri, 'SELECT 1');
      else await api.suspend(project);
      const role = await api.createRole(project, `app_${state}`);
      await api.createDatabase(project, `Shop "${state}"`, role.name);
      const uriOf = async (name: string, database: string): Promise<string> => {
        const query = `database_name=${encodeURIComponent(database)}&role_name=${name}`;
        return (await api.call<{ uri: string }>('GET', `/projects/${project.id}/connection_uri?${query}`)).uri;
      };
      const uri = await uriOf(role.name, `Shop "${state}"`);
      expect(await psql(uri, 'SELECT current_user, current_database()')).toBe(`app_${state}|Shop "${state}"`);

      await api.call('PATCH', `${base}/databases/${encodeURIComponent(`Shop "${state}"`)}`, {
        database: { name: `store_${state}` },
      });
      await api.settled(project.id);
      expect(await psql(withDatabase(uri, `store_${state}`), 'SELECT 1')).toBe('1');

      type Password = { role: { password: string } };
      const reset = await api.call<Password>('POST', `${base}/roles/${role.name}/reset_password`);
      await api.settled(project.id);
      const stale = await tryPsql(withDatabase(uri, `store_${state}`), 'SELECT 1');
      expect(stale.stderr).toContain('password authentication failed');
      const revealed = await api.call<{ password: string }>('GET', `${base}/roles/${role.name}/reveal_password`);
      expect(revealed.password).toBe(reset.role.password);
      expect(await psql(await uriOf(role.name, `store_${state}`), 'SELECT 1')).toBe('1');

      await api.call('DELETE', `${base}/databases/store_${state}`);
      await api.call('DELETE', `${base}/roles/${role.name}`);
      await api.settled(project.id);
      const gone = await tryPsql(withDatabase(uri, 'neondb'), 'SELECT 1');
      expect(gone.stderr).toContain('password authentication failed');
    }
    expect((await api.roles(project)).map((r) => r.name)).toEqual(['neondb_owner']);
    expect((await api.databases(project)).map((d) => d.name)).toEqual(['neondb']);
    await api.deleteProject(project.id);
  });

  it('starts, restarts, disables and enables an endpoint', async () => {
    const { api } = platform;
    const project = await api.createProject({ name: 'levers' });
    const path = `/projects/${project.id}/endpoints/${project.endpointId}`;
    await api.suspend(project);
    await api.start(project);
    await waitUntil('a started compute', async () => (await api.endpoint(project)).current_state === 'active');
    const pid = platform.compute(project.branchId)?.pid;
    await api.call('POST', `${path}/restart`);
    await waitUntil('another compute', async () => {
      const now = platform.compute(project.branchId)?.pid;
      return now !== undefined && now !== pid && (await api.endpoint(project)).current_state === 'active';
    });
    await api.updateEndpoint(project, { disabled: true });
    await waitUntil('no compute of a disabled endpoint', () => !platform.compute(project.branchId));
    expect((await tryPsql(project.uri, 'SELECT 1')).stderr).toContain(
      'The endpoint has been disabled. Enable it using Neon API and retry.',
    );
    await api.updateEndpoint(project, { disabled: false });
    expect(await psql(project.uri, 'SELECT 1')).toBe('1');
    await api.suspend(project);
    expect(await api.request('POST', `${path}/restart`)).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
    expect((await api.endpoint(project)).current_state, 'a refused restart wakes nothing').toBe('idle');
    await api.deleteProject(project.id);
  });

  it('leaves nothing of a deleted project', async () => {
    const { api } = platform;
    const awake = await api.createProject({ name: 'short-lived' });
    const asleep = await api.createProject({ name: 'short-lived' });
    await psql(awake.uri, 'SELECT 1');
    await api.suspend(asleep);
    for (const project of [awake, asleep]) {
      await api.deleteProject(project.id);
      expect((await api.request('GET', `/projects/${project.id}`)).status).toBe(404);
      await waitUntil('no process and no file of it', async () => {
        const traces = [
          ...platform.processes().filter((p) => p.argv.some((arg) => arg.includes(project.branchId))),
          ...(await pathsNamedAfter(platform.dataDir, project.branchId)),
          ...(await pathsNamedAfter(platform.dataDir, project.endpointId)),
        ];
        if (traces.length > 0) throw new Error(JSON.stringify(traces));
        return true;
      });
      const refused = await tryPsql(project.uri, 'SELECT 1');
      expect(refused.code).not.toBe(0);
    }
  });

  it('is seen by people and machines', async () => {
    const get = async (path: string): Promise<string> => await (await fetch(platform.origin + path)).text();
    expect(JSON.parse(await get('/healthz'))).toMatchObject({ ok: true });
    expect(await get('/metrics')).toMatch(/^# TYPE tenantry_\w+ /m);
    const openapi = JSON.parse(await get('/api/v2/openapi.json')) as { paths: object };
    expect(Object.keys(openapi.paths)).toContain('/projects/{project_id}/endpoints/{endpoint_id}/suspend');
    for (const command of ['status', 'doctor']) {
      expect(JSON.parse(await tenantry(command, '--json'))).toMatchObject({
        parts: { control: 'ok', metadata: 'ok', host: 'ok' },
      });
    }
  });

  it('is told by status and doctor as it is: engine, storage, isolation, and what would be better', async () => {
    const { api } = platform;
    const project = await api.createProject({ name: 'examined' });
    const version = (await psql(project.uri, 'SHOW server_version')).split(' ')[0];
    const compute = must(platform.compute(project.branchId), 'an awake compute');
    const { supervisor, control, host } = platform.ids();
    const status = await tenantry('status');
    expect(status).toContain(`supervisor ${supervisor}, control ${control}, host ${host}, `);
    expect(status).toContain(`${project.endpointId}  ${project.id} (examined)  last active `);

    const report = await tenantry('doctor');
    const engines = must(/^ok {4}engines: .*\n(?: {6}(.*)\n)?/m.exec(report), `engines in ${report}`);
    expect(engines[0]).toMatch(new RegExp(`Postgres ${version} \\((npm|system)\\)`));
    const absent = [14, 15, 16, 17, 18].filter((each) => !engines[0].includes(`Postgres ${each}.`));
    const advice =
      absent.length > 0 ? `projects with Postgres ${absent.join(', ')}: tenantry engine install VERSION` : undefined;
    expect(engines[1]).toBe(advice);
    for (const pg_version of absent) {
      const answer = await api.request('POST', '/projects', { project: { pg_version } });
      expect(answer).toMatchObject({ status: 400, body: { code: 'ENGINE_NOT_INSTALLED' } });
    }

    // What the kernel says of the volume of a compute that runs.
    const filesystem = (await runOk('stat', ['-f', '-c', '%T', compute.dataPath])).trim();
    const backend = { btrfs: 'btrfs', xfs: 'reflink', zfs: 'zfs' }[filesystem] ?? 'copy';
    const storage = must(/^(ok|weak) +storage: (\S+) at (.*)\n(?: {6}(.*)\n)?/m.exec(report), `storage in ${report}`);
    expect(storage[2]).toBe(backend);
    if (backend === 'copy')
      expect([storage[1], storage[4]]).toEqual(['weak', expect.stringMatching(/full copy.*btrfs/)]);
    else expect(storage[3]).toMatch(/, copy-on-write$/);
    if (backend === 'btrfs') expect([storage[1], storage[4]]).toEqual(['ok', undefined]);

    const isOwnUser = compute.uid !== process.getuid?.();
    const isGrouped = readFileSync(`/proc/${compute.pid}/cgroup`, 'utf8').includes(`-${basename(platform.runDir)}/`);
    expect(report).toMatch(
      isOwnUser
        ? /^ok {4}isolation: one OS user per project$/m
        : /^weak {2}isolation: all computes share one OS user$/m,
    );
    expect(report).toMatch(
      isGrouped ? /^ok {4}isolation: one cgroup \(v[12]\) per compute$/m : /^weak {2}isolation: no cgroups$/m,
    );
    expect(/^ {6}(Run Tenantry as root|Give Tenantry writable cgroups): /m.test(report)).toBe(!isOwnUser || !isGrouped);
    await api.deleteProject(project.id);
  });

  it.skipIf(process.getuid?.() !== 0)('goes before the computes, with what it runs for itself', async () => {
    const project = await platform.api.createProject({ name: 'ordinary' });
    await psql(project.uri, 'SELECT 1');
    const computes = withDescendants([must(platform.compute(project.branchId)).pid]);
    expect(computes.map(({ pid }) => getPriority(pid))).toEqual(computes.map(() => getPriority()));
    const own = platform.processes().filter(({ argv }) => /^(control|host|gateway)$/.test(argv[2] ?? ''));
    expect(own.length).toBeGreaterThan(2);
    expect(own.map(({ pid }) => getPriority(pid))).toEqual(own.map(() => -10));
  });

  it('ends on Ctrl-C as on SIGTERM, computes and metadata too', async () => {
    const project = await platform.api.createProject({ name: 'running' });
    await psql(project.uri, 'CREATE TABLE t AS SELECT 1 AS n');
    await platform.stop('Ctrl-C');
    await platform.start();
    expect(await psql(project.uri, 'SELECT n FROM t')).toBe('1');
  });
});

const tenantry = async (...words: string[]): Promise<string> =>
  await runOk(resolve(import.meta.dirname, '../../tenantry'), [...words, '--data-dir', platform.dataDir]);

async function expectAwakeAndIntact(project: TestProject, fingerprint: string, when: string): Promise<void> {
  const began = performance.now();
  expect(await psql(project.uri, 'SELECT 1'), when).toBe('1');
  console.log(`first row ${when}: ${(performance.now() - began).toFixed(0)} ms`);
  expect(await psql(project.uri, FINGERPRINT), when).toBe(fingerprint);
}

/** Paths of files and directories that have an id in their names, but for those of the metadata Postgres. */
async function pathsNamedAfter(directory: string, id: string): Promise<string[]> {
  const { stdout } = await run('find', [directory, '-maxdepth', '6', '-name', `*${id}*`]);
  return stdout.split('\n').filter((path) => path !== '');
}

/** Templates on disk; the pool may be mounted at either path. */
async function templatesOf({ dataDir, runDir }: RunningPlatform): Promise<string[]> {
  const { stdout } = await run('find', [join(dataDir, 'host'), runDir, '-path', '*/templates/*', '-prune']);
  return stdout.split('\n').sort();
}
