import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestProject } from '../support/api.ts';
import { errorsOf, percentile, visit, type Visit } from '../support/clients.ts';
import { must } from '../support/must.ts';
import { isAlive, withDescendants } from '../support/os-processes.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { connectionsTo } from '../support/sockets.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { withRole } from '../support/uri.ts';
import { waitUntil } from '../support/wait-until.ts';

let platform: RunningPlatform;
beforeAll(async () => {
  platform = await startPlatform({ gatewayWorkers: 2 });
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

const START_TIME = 'SELECT pg_postmaster_start_time()';

describe('waking', () => {
  it('starts one compute for 1,000 clients of the same second', async () => {
    const project = await platform.api.createProject({ name: 'crowd' });
    // Room for 1,258 sessions.
    await platform.api.updateEndpoint(project, { autoscaling_limit_min_cu: 1, autoscaling_limit_max_cu: 3 });
    for (const { count, ssl } of [
      { count: 1000, ssl: false },
      { count: 100, ssl: { rejectUnauthorized: false } },
    ]) {
      await platform.api.suspend(project);
      const visits = await Promise.all(
        Array.from({ length: count }, async () => await visit(project.uri, START_TIME, { ssl })),
      );
      expect(errorsOf(visits)).toEqual({});
      expect(new Set(visits.map((v) => v.value)).size, 'different starts seen').toBe(1);
      logTimes(`${count} clients, ${ssl ? 'TLS' : 'plain'}`, visits);
    }
    await platform.api.deleteProject(project.id);
  });

  it('meets no error in 400 races of connect and API suspend', async () => {
    const projects = await makeProjects(4, 'race');
    const visits = await Promise.all(
      projects.map(async (project) => {
        const all: Raced[] = [];
        for (let round = 0; round < 100; round++) {
          const suspending = delay(Math.random() * 10).then(async () => {
            const orderedAtMs = performance.now();
            await platform.api.call('POST', suspendPath(project));
            return { orderedAtMs, answeredAtMs: performance.now() };
          });
          await delay(Math.random() * 30);
          const visited = await visit(project.uri);
          all.push({ ...visited, ...(await suspending) });
        }
        return all;
      }),
    );
    const raced = visits.flat();
    logTimes('connects in the race', raced);
    // A suspend that is ordered ends the sessions there are; one that was opened after it was carried out is none of them.
    const ended = raced.filter(wasEndedByOrder);
    console.log(`${ended.length} sessions of ${raced.length} were ended by the suspend that was ordered meanwhile`);
    expect(errorsOf(raced.filter((each) => !ended.includes(each)))).toEqual({});
    expect(ended.length, 'sessions between connect and query as the suspend came').toBeLessThan(raced.length / 10);
    await Promise.all(projects.map(async (p) => await platform.api.deleteProject(p.id)));
  });

  it('meets no error in 100 races and more of connect and autosuspend', async () => {
    const projects = await makeProjects(10, 'doze', { suspend_timeout_seconds: 1 });
    const visits = await Promise.all(
      projects.map(async (project) => {
        const all: Visit[] = [];
        const starts = new Set<string | undefined>();
        // Until it was suspended at least twice: a busy machine looks late.
        for (let round = 0; round < 10 || (starts.size < 3 && round < 60); round++) {
          const done = await visit(project.uri, START_TIME);
          all.push(done);
          starts.add(done.value);
          await delay(900 + Math.random() * 700);
        }
        return all;
      }),
    );
    expect(errorsOf(visits.flat())).toEqual({});
    const starts = visits.map((all) => new Set(all.map((v) => v.value)).size);
    console.log(`starts per endpoint in ${visits.flat().length} visits of all: ${starts.join(' ')}`);
    expect(Math.min(...starts), 'starts of an endpoint').toBeGreaterThan(2);
    await Promise.all(projects.map(async (p) => await platform.api.deleteProject(p.id)));
  });

  it('lets a connect that comes while suspending wait for the next start', async () => {
    const [project] = (await makeProjects(1, 'slow-stop')) as [TestProject];
    await psql(project.uri, 'CREATE TABLE kept AS SELECT 42 AS n');
    const before = await psql(project.uri, START_TIME);
    // Without its checkpointer no Postgres ends in good order: the suspend lasts until this one goes on.
    const checkpointer = await pidOf(project, 'checkpointer');
    process.kill(checkpointer, 'SIGSTOP');
    try {
      const suspending = platform.api.call('POST', suspendPath(project));
      await waitUntil('the suspend under way', () => !titles(project).some((title) => title.includes('cloud_admin')));
      let settled = 0;
      const visits = Array.from({ length: 20 }, async () => {
        const done = await visit(project.uri, START_TIME);
        settled++;
        return done;
      });
      await waitUntil('20 clients at the gateway', () => connectionsTo(platform.pgPort) >= 20);
      expect(isAlive(checkpointer)).toBe(true);
      expect(settled, 'clients that did not wait').toBe(0);
      process.kill(checkpointer, 'SIGCONT');
      await suspending;
      const all = await Promise.all(visits);
      expect(errorsOf(all)).toEqual({});
      expect(all.map((v) => v.value)).not.toContain(before);
    } finally {
      tryKill(checkpointer, 'SIGCONT');
    }
    expect(await psql(project.uri, 'SELECT n FROM kept')).toBe('42');
    await platform.api.deleteProject(project.id);
  });
});

describe('autosuspend', () => {
  it('follows activity, not mere presence', async () => {
    const names = ['idle', 'inTransaction', 'busy', 'listening', 'never', 'visited'] as const;
    const projects = await makeProjects(names.length, 'activity', { suspend_timeout_seconds: 1 });
    const of = (name: (typeof names)[number]): TestProject => must(projects[names.indexOf(name)]);
    await platform.api.updateEndpoint(of('never'), { suspend_timeout_seconds: -1 });
    const sessions = new Map<string, Client>();
    const ended = new Set<string>();
    for (const name of names) {
      const client = new Client({ connectionString: of(name).uri });
      client.on('error', () => ended.add(name)).on('end', () => ended.add(name));
      await client.connect();
      sessions.set(name, client);
    }
    const session = (name: (typeof names)[number]): Client => must(sessions.get(name));
    const starts = new Map<string, string>();
    for (const name of names) starts.set(name, (await visit(of(name).uri, START_TIME)).value ?? '');

    await session('idle').query('SELECT 1');
    await session('listening').query('LISTEN something');
    await session('inTransaction').query('BEGIN; SELECT 1');
    const busy = session('busy').query('SELECT pg_sleep(5)');
    const visited = (async (): Promise<void> => {
      for (let i = 0; i < 10; i++) {
        await visit(of('visited').uri);
        await delay(500);
      }
    })();
    await Promise.all((['idle', 'listening'] as const).map(async (name) => await platform.api.untilIdle(of(name))));
    await waitUntil('sessions of sleeping computes ended', () => ended.has('idle') && ended.has('listening'));
    await Promise.all([busy, visited]);
    for (const name of ['inTransaction', 'busy', 'visited', 'never'] as const) {
      expect((await visit(of(name).uri, START_TIME)).value, `${name} stayed awake`).toBe(starts.get(name));
    }
    expect((await session('inTransaction').query('SELECT 1; COMMIT')) as unknown).toBeTruthy();
    await Promise.all(
      (['inTransaction', 'busy', 'visited'] as const).map(async (name) => await platform.api.untilIdle(of(name))),
    );
    expect((await platform.api.endpoint(of('never'))).current_state).toBe('active');
    await Promise.allSettled([...sessions.values()].map(async (client) => await client.end()));
    await Promise.all(projects.map(async (p) => await platform.api.deleteProject(p.id)));
  });

  it('keeps roles made by SQL able to log in, awake and asleep', async () => {
    const [project] = (await makeProjects(1, 'sql-roles')) as [TestProject];
    await psql(
      project.uri,
      `CREATE ROLE by_sql LOGIN PASSWORD 'chosen by hand'; CREATE ROLE short LOGIN PASSWORD 'x' VALID UNTIL '2020-01-01'`,
    );
    const uri = withRole(project.uri, 'by_sql', 'chosen by hand');
    expect(await psql(uri, 'SELECT current_user')).toBe('by_sql');
    await platform.api.suspend(project);
    expect(await psql(uri, 'SELECT current_user')).toBe('by_sql');
    await psql(project.uri, `ALTER ROLE by_sql PASSWORD 'another one'`);
    await delay(2_000); // the host looks twice a second; meanwhile the old password is the one that is known
    expect(await psql(withRole(project.uri, 'by_sql', 'another one'), 'SELECT 1')).toBe('1');
    expect((await tryPsql(uri, 'SELECT 1')).stderr).toContain('password authentication failed');
    expect((await tryPsql(withRole(project.uri, 'short', 'x'), 'SELECT 1')).code, 'an expired password').not.toBe(0);
    await psql(project.uri, 'DROP ROLE by_sql');
    await delay(2_000);
    expect((await tryPsql(withRole(project.uri, 'by_sql', 'another one'), 'SELECT 1')).code).not.toBe(0);
    await platform.api.deleteProject(project.id);
  });
});

describe('without control and metadata', () => {
  it.each(['frozen', 'gone'] as const)('that are %s, it wakes, authenticates and suspends', async (how) => {
    const [project, idle] = (await makeProjects(2, how, { suspend_timeout_seconds: 1 })) as [TestProject, TestProject];
    await psql(project.uri, 'CREATE TABLE kept AS SELECT 42 AS n');
    await Promise.all([project, idle].map(async (p) => await platform.api.untilIdle(p)));
    const { supervisor, control, metadata } = platform.ids();
    const away = withDescendants([control, ...(metadata === null ? [] : [metadata])]).map((p) => p.pid);
    // What is gone stays away as long as nobody starts it again.
    const frozen = how === 'frozen' ? away : [supervisor];
    for (const pid of frozen) process.kill(pid, 'SIGSTOP');
    try {
      if (how === 'gone') {
        for (const pid of away) tryKill(pid, 'SIGKILL');
        await waitUntil('control and metadata gone', () => !away.some(isAlive));
      }
      for (let round = 0; round < 2; round++) {
        expect(await psql(project.uri, 'SELECT n FROM kept')).toBe('42');
        expect((await tryPsql(withRole(project.uri, 'neondb_owner', 'wrong'), 'SELECT 1')).stderr).toContain(
          'password authentication failed',
        );
        await waitUntil('asleep again', () => !platform.compute(project.branchId), 20_000);
      }
      if (how === 'frozen') {
        const gateway = platform.kill('gateway');
        await waitUntil('a new gateway', () => !platform.ids().gateways.includes(gateway), 30_000);
      }
      for (let i = 0; i < 8; i++) expect(await psql(idle.uri, 'SELECT 1')).toBe('1');
    } finally {
      for (const pid of frozen) tryKill(pid, 'SIGCONT');
    }
    await platform.untilHealthy();
    await platform.api.untilIdle(project);
    for (const p of [project, idle]) await platform.api.deleteProject(p.id);
  });
});

const suspendPath = (project: TestProject): string => `/projects/${project.id}/endpoints/${project.endpointId}/suspend`;

/** A visit, and when the suspend of its round was ordered and answered. */
type Raced = Visit & { readonly orderedAtMs: number; readonly answeredAtMs: number };

/** Opened before its suspend was carried out, and ended after that was ordered. */
function wasEndedByOrder({ failedAt, error, openedAtMs = Infinity, endedAtMs, ...suspend }: Raced): boolean {
  const isOrdered = openedAtMs < suspend.answeredAtMs && endedAtMs > suspend.orderedAtMs;
  return failedAt === 'query' && error?.code === '57P01' && isOrdered;
}

async function makeProjects(count: number, name: string, endpoint = {}): Promise<TestProject[]> {
  return await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const project = await platform.api.createProject({ name: `${name}-${i}`, default_endpoint_settings: endpoint });
      await visit(project.uri);
      return project;
    }),
  );
}

/** Of the processes of a project's compute, as they call themselves. */
const titles = (project: TestProject): string[] =>
  withDescendants([platform.compute(project.branchId)?.pid ?? -1]).map((p) => p.argv.join(' '));

const pidOf = async (project: TestProject, backendType: string): Promise<number> =>
  Number(await psql(project.uri, `SELECT pid FROM pg_stat_activity WHERE backend_type = '${backendType}'`));

function tryKill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // replaced meanwhile
  }
}

function logTimes(what: string, visits: readonly Visit[]): void {
  const times = visits.filter((v) => !v.error).map((v) => v.elapsedMs);
  const [median, p99] = [percentile(times, 0.5), percentile(times, 0.99)];
  console.log(`${what}: median ${median.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, ${visits.length} in all`);
}
