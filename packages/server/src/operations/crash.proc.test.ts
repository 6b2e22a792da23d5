import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { codeOf } from '../kernel/errors.ts';
import { sleep } from '../kernel/wait.ts';
import { openMetadata } from '../metadata/open-metadata.ts';
import { testDatabase, type TestDatabase } from '../metadata/testing/test-database.ts';
import { testInstallation } from '../metadata/testing/test-installation.ts';
import { findOperation } from './operation-rows.ts';
import { done, goto, type OperationDefinition } from './operation.ts';
import { crashOperation } from './testing/crash-child.ts';
import { runEngine, type RunningEngine } from './testing/running-engine.ts';

const CHILD = fileURLToPath(new URL('./testing/crash-child.ts', import.meta.url));
const PROJECTS = 6;

let metadata: TestDatabase;
let children: ChildProcess[] = [];

beforeEach(async () => {
  metadata = await testDatabase();
  await metadata.pool
    .query(`create table step_runs (id bigint generated always as identity, operation_id uuid, step text,
    pid int, started_at timestamptz default clock_timestamp(), ended_at timestamptz)`);
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  await metadata[Symbol.asyncDispose]();
});

function startChild(): ChildProcess {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(metadata.connection)], { stdio: 'inherit' });
  children.push(child);
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

const here = (): RunningEngine =>
  runEngine(metadata, { definitions: [crashOperation], deps: { pool: metadata.pool }, tuning: { pollMs: 50 } });

/** Runs that overlap with another run of their project; one of a killed process ends with the next one's begin. */
const OVERLAPS = `
  with runs as (
    select r.*, o.project_id,
      coalesce(r.ended_at, (select min(n.started_at) from step_runs n
        where n.operation_id = r.operation_id and n.step = r.step and n.id > r.id)) as until
    from step_runs r join operations o on o.id = r.operation_id
  )
  select count(*)::int as n from runs a join runs b on a.project_id = b.project_id and a.id < b.id
  where b.started_at < a.until`;

/** Runs that began before an earlier operation of the project had begun its last. */
const OUT_OF_ORDER = `
  select count(*)::int as n
  from step_runs a join operations oa on oa.id = a.operation_id,
    step_runs b join operations ob on ob.id = b.operation_id
  where oa.project_id = ob.project_id and oa.seq < ob.seq and a.started_at > b.started_at`;

const RUNS = 'select count(*)::int as n from step_runs';

async function count(query: string): Promise<number | undefined> {
  const { rows } = await metadata.pool.query<{ n: number }>(query);
  return rows[0]?.n;
}

test('engines killed at random moments lose nothing, and no two ever run one project at the same time', async () => {
  const ids: string[] = [];
  {
    await using engine = runEngine(metadata, { definitions: [], deps: null });
    for (let n = 0; n < 120; n += 1) {
      ids.push(await engine.submit(crashOperation, { stepMs: 10 + (n % 5) * 20 }, { projectId: `p${n % PROJECTS}` }));
    }
  }
  for (let round = 0; round < 6; round += 1) {
    const before = (await count(RUNS)) ?? 0;
    const pair = [startChild(), startChild()];
    await expect.poll(() => count(RUNS), { timeout: 20_000, interval: 10 }).toBeGreaterThan(before + PROJECTS);
    await sleep(Math.random() * 100);
    await Promise.all(pair.map(kill));
  }
  expect(await count('select count(*)::int as n from step_runs where ended_at is null')).toBeGreaterThan(3);
  await using a = here();
  await using b = here();
  const outcomes = await a.waitFor(ids, 60_000);
  expect(outcomes.map((o) => o.status)).toEqual(ids.map(() => 'finished'));
  expect(await b.waitFor(ids, 0)).toEqual(outcomes);
  expect(await count(OVERLAPS)).toBe(0);
  expect(await count(OUT_OF_ORDER)).toBe(0);
});

test('what a killed process ran is taken over at once, without waiting for its lease', async () => {
  const { projectId } = { projectId: 'p' };
  const child = startChild();
  let id = '';
  {
    await using engine = runEngine(metadata, { definitions: [], deps: null });
    id = await engine.submit(crashOperation, { stepMs: 300 }, { projectId });
  }
  await expect
    .poll(() => count(`select count(*)::int as n from step_runs where step = 'second'`), {
      timeout: 10_000,
      interval: 5,
    })
    .toBe(1);
  await kill(child);
  expect(await findOperation(metadata.db, projectId, id)).toMatchObject({ status: 'running' });
  const startedAt = performance.now();
  await using engine = here();
  expect(await engine.ended(id)).toMatchObject({ status: 'finished' });
  // 300 ms of it is the step; the lease would have lasted 10 s.
  expect(performance.now() - startedAt).toBeLessThan(3_000);
  expect(await count(`select count(*)::int as n from step_runs where step = 'first'`)).toBe(1);
});

test('the metadata database is killed and comes back: the engine carries on', async () => {
  await using installation = await testInstallation();
  const postgres = await installation.start();
  const own = await openMetadata({ connection: postgres.connection, log: pino({ level: 'silent' }) });
  const firstPid = postgres.pid;
  let isDown = false;
  const definition: OperationDefinition<object, null> = {
    kind: 'outage',
    action: 'apply_config',
    deadlineMs: 60_000,
    firstStep: 'first',
    steps: {
      // The database dies under it: backends may still take its result, or it is written once the database is back.
      first: async () => {
        if (!isDown && firstPid !== undefined) process.kill(firstPid, 'SIGKILL');
        isDown = true;
        return goto('second');
      },
      second: async () => done,
    },
  };
  {
    await using engine = runEngine(own, { definitions: [definition], deps: null, endedWithinMs: 30_000 });
    const id = await engine.submit(definition, {}, { projectId: 'p' });
    // Those who ask meanwhile are told; a client would ask again.
    const retried = <T>(ask: () => Promise<T>) =>
      expect.poll(() => ask().catch((error: unknown) => codeOf(error)), { timeout: 30_000 });
    await retried(() => engine.ended(id)).toMatchObject({ status: 'finished' });
    await retried(async () => engine.ended(await engine.submit(definition, {}, { projectId: 'p' }))).toMatchObject({
      status: 'finished',
    });
    expect(postgres.pid).not.toBe(firstPid);
  }
  await own.close();
});
