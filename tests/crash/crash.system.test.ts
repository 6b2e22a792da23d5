import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { expectNothingLeft, inventory } from '../branches/leftovers.ts';
import type { TestProject } from '../support/api.ts';
import { visit } from '../support/clients.ts';
import { must } from '../support/must.ts';
import { isAlive } from '../support/os-processes.ts';
import { psql } from '../support/psql.ts';
import { runOk } from '../support/run.ts';
import { ownerOfConnection } from '../support/sockets.ts';
import { startPlatform, type PartName, type RunningPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';
import { branchesOnDisk, findOrphans } from './inventory.ts';
import { ApiLoad, Writer } from './load.ts';

/** Kills of each part; `TENANTRY_CRASH_ROUNDS=50` for the full proof, which takes 11 minutes, over 20 on a slow machine. */
const ROUNDS = Number(process.env['TENANTRY_CRASH_ROUNDS'] ?? 2);

let platform: RunningPlatform;
beforeAll(async () => {
  platform = await startPlatform({ gatewayWorkers: 2 });
});
beforeEach(({ onTestFailed }) => {
  onTestFailed(() => console.log(`the platform's log is kept in ${platform.keepLogs()}`));
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

const LEDGER = 'CREATE TABLE ledger (writer text, n bigint, PRIMARY KEY (writer, n))';

describe('kill -9', () => {
  it(
    `of control, host and gateway, ${ROUNDS} times each under load, loses nothing`,
    async () => {
      const { api } = platform;
      // The first of all leaves what an installation keeps, such as its templates.
      await api.deleteProject((await api.createProject()).id);
      await waitUntil('a deleted project gone, its rows too', async () => {
        return ![...(await inventory(platform))].some((name) => /^(row|operation) /.test(name));
      });
      const nothing = await inventory(platform);
      const steady = await Promise.all(['steady-a', 'steady-b'].map(async (name) => await newLedger(name)));
      const [napper, roleProject] = await Promise.all([newLedger('napper'), newLedger('roles')]);
      for (const project of [...steady, roleProject])
        await api.updateEndpoint(project, { suspend_timeout_seconds: -1 });
      for (const project of steady) await visit(project.uri);
      const writers = steady.flatMap((project, p) => [0, 1, 2].map((i) => new Writer(`w${p}${i}`, project)));
      const napping = new Writer('nap', napper);
      const load = new ApiLoad(api, roleProject, napper);
      await waitUntil('writers at work', () => writers.every((w) => w.acknowledged.length > 10));

      const parts: PartName[] = Array.from({ length: ROUNDS }, () => ['control', 'host', 'gateway'] as const).flat();
      for (const part of shuffled(parts)) {
        await delay(100 + Math.random() * 1400);
        await killUnderLoad(part, steady, writers);
      }

      await Promise.all([load.stop(), napping.stop(), ...writers.map(async (w) => await w.stop())]);
      await platform.untilHealthy();
      console.log(
        'answers',
        JSON.stringify(load.answers),
        'commits',
        writers.map((w) => w.acknowledged.length).join(' '),
      );
      const ids = (await api.projects()).map((p) => p.id);
      for (const id of ids) await api.settled(id);
      for (const writer of [...writers, napping]) await expectCommits(writer);
      const { createdProjects, deletedProjects, roles } = load.acknowledged;
      const mayBeGone = (id: string): boolean => deletedProjects.has(id) || load.deletesCutOff.has(id);
      const missing = [...createdProjects].filter((id) => !mayBeGone(id) && !ids.includes(id));
      expect(missing, 'projects that were acknowledged').toEqual([]);
      expect(
        ids.filter((id) => deletedProjects.has(id)),
        'projects deleted, and back',
      ).toEqual([]);
      const present = (await api.roles(roleProject)).map((r) => r.name);
      expect(
        [...roles].filter((name) => !present.includes(name)),
        'roles that were acknowledged',
      ).toEqual([]);
      const inPostgres = (
        await psql(roleProject.uri, `SELECT rolname FROM pg_roles WHERE rolname LIKE 'role\\_%'`)
      ).split('\n');
      expect(inPostgres.filter((name) => name !== '').sort()).toEqual(
        present.filter((n) => n.startsWith('role_')).sort(),
      );
      await expectEveryProjectWhole();
      expectOneOfEach();
      for (const id of ids) await api.deleteProject(id);
      // The API answers before the files go, and they are many: each wait is for the next of them.
      for (let left = Infinity; left > 0; left = (await branchesOnDisk(platform)).size) {
        const before = left;
        await waitUntil('fewer files of deleted projects', async () => (await branchesOnDisk(platform)).size < before);
      }
      // Run directories and cgroups carry no id: what was not there before the kills is an orphan.
      await expectNothingLeft(platform, nothing);
      expectOneOfEach();
    },
    // Against a hang; each wait has its own. Half of the load's projects stay awake, so recoveries take longer as it goes.
    240_000 + ROUNDS * 30_000,
  );

  it('of a Postgres: the next connect works and finds every commit', async () => {
    const project = await newLedger('victim');
    for (let round = 0; round < 5; round++) {
      const writer = new Writer(`round${round}`, project);
      await waitUntil('a few commits', () => writer.acknowledged.length > 20);
      const { pid } = must(platform.compute(project.branchId), 'an awake compute');
      process.kill(pid, 'SIGKILL');
      const next = await visit(project.uri, 'SELECT count(*) FROM ledger');
      expect(next.error, 'the connect right after').toBeUndefined();
      console.log(`first row after kill -9 of a Postgres: ${next.elapsedMs.toFixed(0)} ms`);
      await writer.stop();
      await expectCommits(writer);
    }
    // One backend alone: Postgres ends all sessions, and must be back for the next.
    const backend = Number(await psql(project.uri, 'SELECT pg_backend_pid()'));
    expect(backend).toBeGreaterThan(0);
    const client = new Client({ connectionString: project.uri });
    client.on('error', () => {});
    await client.connect();
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    process.kill(must(rows[0]).pid, 'SIGKILL');
    expect((await visit(project.uri)).error, 'after kill -9 of a backend').toBeUndefined();
    await client.end().catch(() => {});
    await platform.api.deleteProject(project.id);
  });

  it('of the metadata Postgres: the API is back and computes never notice', async () => {
    const project = await newLedger('onlooker');
    const writer = new Writer('onlooker', project);
    await waitUntil('a few commits', () => writer.acknowledged.length > 5);
    const pid = must(platform.ids().metadata, 'an embedded metadata Postgres');
    process.kill(pid, 'SIGKILL');
    await waitUntil('a new metadata Postgres', () => platform.ids().metadata !== pid, 30_000);
    await platform.untilHealthy();
    expect((await platform.api.projects()).map((p) => p.id)).toContain(project.id);
    await writer.stop();
    expect(writer.losses).toEqual([]);
    await platform.api.deleteProject(project.id);
  });

  it('of the supervisor, then of all Tenantry processes: the next start adopts what runs', async () => {
    const project = await newLedger('adopted');
    await platform.api.updateEndpoint(project, { suspend_timeout_seconds: -1 });
    const writer = new Writer('adopted', project);
    await waitUntil('a few commits', () => writer.acknowledged.length > 5);
    const before = must(platform.compute(project.branchId), 'an awake compute');
    for (const victims of [['supervisor'], ['supervisor', 'control', 'host', 'gateway', 'metadata']] as const) {
      const { gateways } = platform.ids();
      for (const part of victims) {
        if (part === 'gateway') for (const pid of gateways) process.kill(pid, 'SIGKILL');
        else if (isAlive(platform.pidOf(part))) platform.kill(part);
      }
      await platform.start();
      await platform.untilHealthy();
      expect(platform.compute(project.branchId)?.pid, `adopted after ${victims.join(', ')}`).toBe(before.pid);
      expect(await psql(project.uri, 'SELECT 1')).toBe('1');
      expectOneOfEach();
    }
    await writer.stop();
    await expectCommits(writer);
    await platform.api.suspend(project);
    expect(isAlive(before.pid)).toBe(false);
    await platform.api.deleteProject(project.id);
  });

  it('is not needed for an upgrade: `tenantry restart` renews all processes under running computes', async () => {
    const project = await newLedger('upgraded');
    const writer = new Writer('upgraded', project);
    await waitUntil('a few commits', () => writer.acknowledged.length > 5);
    const compute = must(platform.compute(project.branchId), 'an awake compute').pid;
    const { control, host, gateways } = platform.ids();
    await runOk(resolve(import.meta.dirname, '../../tenantry'), ['restart', '--data-dir', platform.dataDir]);
    await waitUntil('new processes', () => {
      const ids = platform.ids();
      return ids.control !== control && ids.host !== host && gateways.every((pid) => !ids.gateways.includes(pid));
    });
    await platform.untilHealthy();
    expect(platform.compute(project.branchId)?.pid).toBe(compute);
    await writer.stop();
    await expectCommits(writer);
    expectOneOfEach();
    await platform.api.deleteProject(project.id);
  });

  it('of everything at once, computes too: all comes back', async () => {
    const project = await newLedger('blackout');
    const writer = new Writer('blackout', project);
    await waitUntil('a few commits', () => writer.acknowledged.length > 20);
    for (const { pid } of platform.processes()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // its parent took it along
      }
    }
    await platform.start();
    await writer.stop();
    await expectCommits(writer);
    expect(await findOrphans(platform)).toEqual([]);
    await platform.api.deleteProject(project.id);
  });
});

async function newLedger(name: string): Promise<TestProject> {
  const project = await platform.api.createProject({ name });
  await psql(project.uri, LEDGER);
  return project;
}

/** One kill: running computes stay, sessions stay unless their gateway was killed, all parts are back. */
async function killUnderLoad(
  part: PartName,
  steady: readonly TestProject[],
  writers: readonly Writer[],
): Promise<void> {
  const computes = steady.map((project) => must(platform.compute(project.branchId), 'an awake compute').pid);
  const { gateways } = platform.ids();
  const victim = platform.pidOf(part);
  const kept = writers.filter(
    (w) => w.port !== undefined && ownerOfConnection(w.port, platform.pgPort, gateways) !== victim,
  );
  const losses = kept.map((w) => w.losses.length);
  const killedAt = performance.now();
  process.kill(victim, 'SIGKILL');
  await platform.untilReplaced(part, victim);
  console.log(`${part}: all parts served again ${(performance.now() - killedAt).toFixed(0)} ms after kill -9`);
  const after = steady.map((project) => platform.compute(project.branchId)?.pid);
  expect(after, `computes after kill of ${part}`).toEqual(computes);
  const lost = kept.flatMap((w, i) => w.losses.slice(losses[i]).map((loss) => loss.error));
  expect(lost, `sessions lost by kill of ${part}, of ${kept.length} that did not go through it`).toEqual([]);
  const counts = writers.map((w) => w.acknowledged.length);
  await waitUntil('every writer at work again', () =>
    writers.every((w, i) => w.acknowledged.length > (counts[i] ?? 0)),
  );
}

async function expectCommits(writer: Writer): Promise<void> {
  const sql = `SELECT n FROM ledger WHERE writer = '${writer.name}'`;
  const stored = new Set((await psql(writer.project.uri, sql)).split('\n').map(Number));
  const missing = writer.acknowledged.filter((n) => !stored.has(n));
  expect(missing, `acknowledged commits of ${writer.name} that are gone`).toEqual([]);
}

/** Every project of the list can be connected to, and nothing is on the machine that no project owns. */
async function expectEveryProjectWhole(): Promise<void> {
  for (const { id } of await platform.api.projects()) {
    const query = 'database_name=neondb&role_name=neondb_owner';
    const { uri } = await platform.api.call<{ uri: string }>('GET', `/projects/${id}/connection_uri?${query}`);
    expect((await visit(uri)).error, `connect to ${id}`).toBeUndefined();
  }
  await waitUntil('no orphan', async () => {
    const orphans = await findOrphans(platform);
    if (orphans.length > 0) throw new Error(orphans.join('\n'));
    return true;
  });
}

/** No process of ours runs twice. */
function expectOneOfEach(): void {
  const { supervisor, control, host, gateways, metadata } = platform.ids();
  const listed = [supervisor, control, host, ...gateways, metadata];
  for (const pid of listed) expect(pid !== null && isAlive(pid)).toBe(true);
  const servers = platform
    .processes()
    .filter((p) => p.argv.some((arg) => arg.endsWith('.ts')) && p.uid === process.getuid?.());
  const strangers = servers.filter((p) => !listed.includes(p.pid) && p.parentPid !== supervisor);
  expect(strangers.map((p) => p.argv.join(' '))).toEqual([]);
}

function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((value) => ({ value, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ value }) => value);
}
