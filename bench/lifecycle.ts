import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { CreatedProject, TestProject } from '../tests/support/api.ts';
import { asTestProject } from '../tests/support/api.ts';
import { diskUsage } from '../tests/support/disk-usage.ts';
import { must } from '../tests/support/must.ts';
import { cpuSeconds, memoryOf, withDescendants } from '../tests/support/os-processes.ts';
import { startPlatform, type RunningPlatform } from '../tests/support/start-platform.ts';
import { BarePostgres } from './bare-postgres.ts';
import { endOnSignal } from './end-on-signal.ts';
import { median, print, round, say, summarize, timed, type Summary } from './statistics.ts';

const MB = 1024 * 1024;

interface Timings {
  readonly create: Summary;
  readonly initdb: Summary;
  readonly wake: Summary;
  readonly bare: Summary;
}

/**
 * What a project costs: made, woken, asleep. Flags: `--projects 1000` (sleeping in the end), `--runs 50`,
 * `--cpu-seconds 60`, `--storage auto`.
 */
export async function benchLifecycle(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      projects: { type: 'string', default: '1000' },
      runs: { type: 'string', default: '50' },
      'cpu-seconds': { type: 'string', default: '60' },
      storage: { type: 'string', default: 'auto' },
    },
  });
  const many = Number(values.projects);
  const runs = Number(values.runs);
  await using platform = await startPlatform({ storage: values.storage as 'auto', gatewayWorkers: 2 });
  endOnSignal(platform);
  await platform.untilHealthy();
  const probe = await newProject(platform);
  await (await firstRow(probe.uri, platform)).end();
  using bare = new BarePostgres(must(platform.compute(probe.branchId), 'an awake compute').pid);
  await bare.prepare();
  await platform.api.suspend(probe);

  const few = Math.min(10, many);
  await addSleepers(platform, few - 1);
  const withFew = await measureTimes(platform, probe, bare, runs);
  printTimes(withFew, few);

  await addSleepers(platform, many - few - Math.min(100, many - few));
  await measureDisk(platform, Math.min(100, many - few));
  const withMany = await measureTimes(platform, probe, bare, runs);
  printTimes(withMany, many);
  printGrowth(withFew, withMany, many);

  await measureIdle(platform, many, Number(values['cpu-seconds']));
  await measureAwake(platform, 10);
}

/** The four kinds take turns, so that whatever else the machine does hits them alike. */
async function measureTimes(
  platform: RunningPlatform,
  probe: TestProject,
  bare: BarePostgres,
  runs: number,
): Promise<Timings> {
  const times = { create: [] as number[], initdb: [] as number[], wake: [] as number[], bare: [] as number[] };
  const warmUps = 2;
  for (let run = -warmUps; run < runs; run++) {
    let created: TestProject | undefined;
    let client: Client | undefined;
    const create = await timed(async () => {
      created = await newProject(platform);
      client = await firstRow(created.uri, platform, false);
    });
    await client?.end();
    await platform.api.deleteProject(must(created).id);
    const initdb = await timed(async () => await bare.initdbToFirstRow());
    await bare.stop();
    const wake = await timed(async () => {
      client = await firstRow(probe.uri, platform);
    });
    await client?.end();
    await platform.api.suspend(probe);
    const start = await timed(async () => await bare.startToFirstRow());
    await bare.stop();
    if (run < 0) continue;
    times.create.push(create);
    times.initdb.push(initdb);
    times.wake.push(wake);
    times.bare.push(start);
  }
  return {
    create: summarize(times.create),
    initdb: summarize(times.initdb),
    wake: summarize(times.wake),
    bare: summarize(times.bare),
  };
}

function printTimes({ create, initdb, wake, bare }: Timings, sleeping: number): void {
  const comparison = (name: string, yardstick: Summary, own: Summary, target: number): object => {
    const ratio = own.median_ms / yardstick.median_ms;
    return { yardstick: { name, ...yardstick }, ratio: round(ratio), target, ok: ratio <= target };
  };
  print({
    case: `API call to first row on a new project, ${sleeping} sleeping`,
    ...create,
    ...comparison('initdb + start to first row', initdb, create, 0.25),
  });
  print({
    case: `connect (TLS, SCRAM) to a sleeping endpoint to first row, ${sleeping} sleeping`,
    ...wake,
    ...comparison('bare postgres start to first row', bare, wake, 3),
  });
}

/** How much slower with many sleepers; the yardsticks tell how much of it was the machine. */
function printGrowth(few: Timings, many: Timings, sleeping: number): void {
  for (const [name, kind, yardstick] of [
    ['new project', 'create', 'initdb'],
    ['sleeping endpoint', 'wake', 'bare'],
  ] as const) {
    const ratio = many[kind].median_ms / few[kind].median_ms;
    const machine = round(many[yardstick].median_ms / few[yardstick].median_ms);
    print({
      case: `${name} to first row, ${sleeping} sleeping against 10`,
      median_ms: many[kind].median_ms,
      yardstick: { name: 'the same with 10', median_ms: few[kind].median_ms, own_growth: machine },
      ratio: round(ratio),
      target: 1.3,
      ok: ratio <= 1.3,
    });
  }
}

/** Disk that new projects take once they sleep, WAL and metadata included. */
async function measureDisk(platform: RunningPlatform, count: number): Promise<void> {
  if (count < 1) return;
  const before = await diskUsage(platform);
  await addSleepers(platform, count);
  const value = ((await diskUsage(platform)).bytes - before.bytes) / count / MB;
  print({
    case: 'disk per new sleeping project',
    value: round(value),
    unit: 'MB',
    count,
    isPool: before.isPool,
    target: 3,
    ok: value < 3,
  });
}

async function measureIdle(platform: RunningPlatform, sleeping: number, seconds: number): Promise<void> {
  await delay(5_000);
  const look = (): { name: string; pid: number; cpu: number }[] =>
    platform.processes().map((p) => ({ name: p.argv.join(' ').slice(-60), pid: p.pid, cpu: cpuSeconds(p.pid) }));
  const total = (processes: readonly { cpu: number }[]): number => processes.reduce((sum, p) => sum + p.cpu, 0);
  const before = look();
  await delay(seconds * 1000);
  const after = look();
  // Of all together: what a process used that ended meanwhile is its parent's now, with what it had used before.
  const cpu = ((total(after) - total(before)) / seconds) * 100;
  const used = after.map((p) => ({ ...p, pss: memoryOf(p.pid).pss }));
  const memory = used.reduce((sum, p) => sum + p.pss, 0) / MB;
  for (const p of used) {
    const cpuBefore = before.find(({ pid }) => pid === p.pid)?.cpu ?? 0;
    say(
      `${(p.pss / MB).toFixed(1)} MB PSS, ${(p.cpu - cpuBefore).toFixed(2)} s CPU (and the whole life's of children that ended): ${p.name}`,
    );
  }
  const processes = used.length;
  print({
    case: `CPU of all processes, ${sleeping} sleeping`,
    value: round(cpu),
    unit: '% of a core',
    seconds,
    processes,
    target: 2,
    ok: cpu < 2,
  });
  print({
    case: `memory (PSS) of all processes, ${sleeping} sleeping`,
    value: round(memory),
    unit: 'MB',
    processes,
    target: 700,
    ok: memory < 700,
  });
}

async function measureAwake(platform: RunningPlatform, count: number): Promise<void> {
  const projects: TestProject[] = [];
  for (let i = 0; i < count; i++) {
    const project = await newProject(platform);
    await (await firstRow(project.uri, platform)).end();
    projects.push(project);
  }
  await delay(3_000);
  const sizes = projects.map((project) => {
    const compute = must(platform.compute(project.branchId), 'an awake compute');
    return withDescendants([compute.pid]).reduce((sum, { pid }) => sum + memoryOf(pid).privateBytes, 0) / MB;
  });
  const value = median(sizes);
  print({
    case: 'private memory per awake idle compute',
    value: round(value),
    unit: 'MB',
    count,
    target: 15,
    ok: value < 15,
  });
}

/** Creates projects, four at a time, and leaves them asleep. */
async function addSleepers(platform: RunningPlatform, count: number): Promise<void> {
  if (count < 1) return;
  const began = performance.now();
  let left = count;
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const project = await newProject(platform);
      await platform.api.suspend(project);
    }
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
  const seconds = (performance.now() - began) / 1000;
  say(`${count} projects made and put to sleep in ${seconds.toFixed(1)} s (${(count / seconds).toFixed(1)} a second)`);
}

async function newProject({ api }: RunningPlatform): Promise<TestProject> {
  return asTestProject(await api.call<CreatedProject>('POST', '/projects', { project: {} }));
}

/** Connects, by default as a careful client does with TLS verified, and reads one row. */
async function firstRow(uri: string, platform: RunningPlatform, tls = true): Promise<Client> {
  const ssl = tls && { ca: readFileSync(platform.caCert, 'utf8'), servername: 'localhost' };
  const client = new Client({ connectionString: uri, ssl });
  client.on('error', () => {});
  await client.connect();
  await client.query('SELECT 1');
  return client;
}
