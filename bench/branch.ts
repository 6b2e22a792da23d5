import { readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { BranchApi, type TestBranch } from '../tests/branches/branch-api.ts';
import type { TestProject } from '../tests/support/api.ts';
import { diskUsage } from '../tests/support/disk-usage.ts';
import { must } from '../tests/support/must.ts';
import { memoryOf, withDescendants } from '../tests/support/os-processes.ts';
import { psql } from '../tests/support/psql.ts';
import { runOk } from '../tests/support/run.ts';
import { smallDisk } from '../tests/support/small-disk.ts';
import { startPlatform, type RunningPlatform } from '../tests/support/start-platform.ts';
import { withDatabase } from '../tests/support/uri.ts';
import { waitUntil } from '../tests/support/wait-until.ts';
import { BarePostgres } from './bare-postgres.ts';
import { endOnSignal } from './end-on-signal.ts';
import { limitLike } from './same-limits.ts';
import { loadPgbench, PgbenchLoad, tpcB } from './pgbench.ts';
import { median, print, round, say, summarize, timed, type Summary } from './statistics.ts';

const MB = 1024 * 1024;
/** Two vCPUs, so that loading and pgbench are not held by the cgroup of a quarter of one. */
const PARENT_CU = 2;
/** As long as ten branches take, about. */
const ALONE_MS = 10_000;
const FIRST_ROW = 'SELECT bbalance FROM pgbench_branches LIMIT 1';

interface Options {
  readonly runs: number;
  readonly awake: number;
  readonly awakeParentMb: number;
  readonly pgbenchSeconds: number;
  readonly pairs: number;
  readonly cases: readonly string[];
}

/** A project with a database of some size, loaded once. */
interface Parent {
  readonly megabytes: number;
  readonly project: TestProject;
  readonly branches: BranchApi;
}

interface Bench {
  readonly platform: RunningPlatform;
  readonly storage: string;
  readonly parents: readonly Parent[];
  readonly options: Options;
}

const CASES: Readonly<Record<string, (bench: Bench) => Promise<void>>> = {
  create: measureCreation,
  space: measureSpace,
  latency: measureParentLatency,
  restore: measureRestore,
  tpcb: measureTpcB,
  awake: measureAwake,
};

/**
 * What a branch costs. Flags: `--storage auto` (or `reflink`, on an XFS of its own), `--sizes 100,1000,10000` (MB),
 * `--runs 20`, `--awake 100`, `--awake-parent 1000`, `--pgbench-seconds 20`, `--pairs 5`, `--cases create,space,...`.
 */
export async function benchBranch(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      storage: { type: 'string', default: 'auto' },
      sizes: { type: 'string', default: '100,1000,10000' },
      runs: { type: 'string', default: '20' },
      awake: { type: 'string', default: '100' },
      'awake-parent': { type: 'string', default: '1000' },
      'pgbench-seconds': { type: 'string', default: '20' },
      pairs: { type: 'string', default: '5' },
      cases: { type: 'string', default: Object.keys(CASES).join(',') },
    },
  });
  const { storage } = values;
  const sizes = values.sizes.split(',').map(Number);
  const options: Options = {
    runs: Number(values.runs),
    awake: Number(values.awake),
    awakeParentMb: Number(values['awake-parent']),
    pgbenchSeconds: Number(values['pgbench-seconds']),
    pairs: Number(values.pairs),
    cases: values.cases.split(','),
  };
  // Data, WAL that the history keeps, one plain copy, and what the load writes.
  const diskMb = 8_000 + sizes.reduce((sum, mb) => sum + mb * 5, 0);
  await using disk = storage === 'reflink' ? await smallDisk(diskMb, 'xfs') : undefined;
  await using platform = await startPlatform({
    storage: storage as 'auto',
    gatewayWorkers: 2,
    flags: ['--computes-awake-max', '1000'],
    ...(disk === undefined ? {} : { dataDir: join(disk.path, 'data') }),
  });
  endOnSignal(platform);
  await platform.untilHealthy();
  const parents: Parent[] = [];
  for (const megabytes of sizes) parents.push(await makeParent(platform, megabytes));
  for (const name of options.cases)
    await must(
      CASES[name],
      `a case ${name}`,
    )({ platform, storage: disk ? 'reflink on XFS' : storage, parents, options });
}

async function makeParent(platform: RunningPlatform, megabytes: number): Promise<Parent> {
  const { api } = platform;
  const project = await api.createProject({ name: `parent-${megabytes}` });
  await api.updateEndpoint(project, {
    autoscaling_limit_min_cu: PARENT_CU,
    autoscaling_limit_max_cu: PARENT_CU,
    suspend_timeout_seconds: -1,
  });
  const tookMs = await timed(async () => await loadPgbench(project.uri, megabytes));
  say(`${megabytes} MB loaded in ${(tookMs / 1000).toFixed(1)} s`);
  return { megabytes, project, branches: new BranchApi(api, project.id) };
}

/** The API call to the first row on the new branch, in three states of the parent. */
async function measureCreation({ platform, storage, parents, options }: Bench): Promise<void> {
  const { api } = platform;
  const all = new Map<string, Summary>();
  for (const parent of parents) {
    const { megabytes, project } = parent;
    const once = async (): Promise<number> => {
      let branch: TestBranch | undefined;
      const tookMs = await timed(async () => {
        branch = await parent.branches.create(project.branchId);
        await firstRow(branch.uri);
      });
      await parent.branches.delete(must(branch).branchId);
      return tookMs;
    };
    for (const state of ['asleep', 'idle', 'busy'] as const) {
      if (state === 'asleep') await api.suspend(project);
      else await firstRow(project.uri);
      const load = state === 'busy' ? new PgbenchLoad(project.uri) : undefined;
      if (load) await delay(5_000); // the load is to have made dirty pages and WAL
      const times: number[] = [];
      for (let run = -1; run < options.runs; run++) {
        const tookMs = await once();
        if (run >= 0) times.push(tookMs);
      }
      const transactions = (await load?.stop())?.length;
      const summary = summarize(times);
      all.set(`${state} ${megabytes}`, summary);
      const target = state === 'busy' ? 1000 : 300;
      print({
        case: `API call to first row on a branch of ${megabytes} MB, parent ${state}`,
        storage,
        ...summary,
        ...(transactions === undefined ? {} : { transactions }),
        target_ms: target,
        ok: summary.median_ms <= target,
      });
    }
    await measureYardsticks(platform, storage, parent);
  }
  printGrowth(storage, parents, all);
}

function printGrowth(storage: string, parents: readonly Parent[], all: ReadonlyMap<string, Summary>): void {
  const sizes = parents.map((p) => p.megabytes);
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  if (least === most) return;
  for (const state of ['asleep', 'idle', 'busy']) {
    const small = must(all.get(`${state} ${least}`));
    const large = must(all.get(`${state} ${most}`));
    const ratio = round(large.median_ms / small.median_ms);
    print({
      case: `branch of ${most} MB against ${least} MB, parent ${state}`,
      storage,
      median_ms: large.median_ms,
      yardstick: { name: `the same of ${least} MB`, median_ms: small.median_ms },
      ratio,
      target: 1.5,
      ok: ratio <= 1.5,
    });
  }
}

/** The same contents by a plain copy of the directory, and by Postgres itself. */
async function measureYardsticks(platform: RunningPlatform, storage: string, parent: Parent): Promise<void> {
  const { megabytes, project, branches } = parent;
  const runs = megabytes > 2_000 ? 1 : 3;
  await firstRow(project.uri);
  const { dataPath } = must(platform.compute(project.branchId), 'an awake compute');
  await platform.api.suspend(project);
  const copies: number[] = [];
  // Beside the pool: a plain copy writes faster than the pool grows.
  const target = join(dirname(dirname(dirname(dirname(dataPath)))), 'plain-copy');
  for (let run = 0; run < runs; run++) {
    copies.push(
      await timed(
        async () => void (await runOk('cp', ['-a', '--reflink=never', dataPath, target], { timeoutMs: 1_800_000 })),
      ),
    );
    rmSync(target, { recursive: true });
  }
  print({ case: `plain cp -a of ${megabytes} MB`, storage, ...summarize(copies) });

  // On a branch, so that the parent's history does not hold the copy.
  const branch = await branches.create(project.branchId);
  const clones: number[] = [];
  for (let run = 0; run < runs; run++) {
    const uri = withDatabase(branch.uri, 'postgres');
    clones.push(
      await timed(
        async () => void (await psql(uri, 'CREATE DATABASE clone TEMPLATE neondb', { timeoutMs: 1_800_000 })),
      ),
    );
    await psql(uri, 'DROP DATABASE clone', { timeoutMs: 300_000 });
  }
  await branches.delete(branch.branchId);
  print({ case: `CREATE DATABASE ... TEMPLATE of ${megabytes} MB`, storage, ...summarize(clones) });
}

/** Disk that a branch takes once it was opened and sleeps again. */
async function measureSpace({ platform, storage, parents }: Bench): Promise<void> {
  for (const { megabytes, project, branches } of parents) {
    const size = Number(await psql(project.uri, `SELECT pg_database_size('neondb')`));
    await platform.api.suspend(project);
    const count = 5;
    const before = await settledUsage(platform);
    const made: TestBranch[] = [];
    for (let i = 0; i < count; i++) {
      const branch = await branches.create(project.branchId);
      await firstRow(branch.uri);
      await platform.api.suspend(branch);
      made.push(branch);
    }
    const each = ((await settledUsage(platform)) - before) / count;
    for (const { branchId } of made) await branches.delete(branchId);
    const ratio = Math.round((each / size) * 10_000) / 10_000;
    print({
      case: `disk of a fresh branch of ${megabytes} MB, opened and asleep`,
      storage,
      value: round(each / MB),
      unit: 'MB',
      count,
      parent_mb: round(size / MB),
      ratio,
      target: 0.01,
      ok: ratio < 0.01,
    });
  }
}

/**
 * Latency of the parent's transactions while ten branches are made, in turns with none being made: with a load that uses
 * all of the machine, and with one of half as many transactions.
 */
async function measureParentLatency(bench: Bench): Promise<void> {
  const { megabytes, project } = must(bench.parents.at(-1));
  const most = await tpcB(project.uri, 10);
  for (const rate of [undefined, Math.round(most / 2)]) {
    const during: number[] = [];
    const without: number[] = [];
    for (let turn = 0; turn < Math.max(2, Math.round(bench.options.pairs / 2)); turn++) {
      await tpcB(project.uri, 5); // its buffers are warm, or warm again
      const alone = new PgbenchLoad(project.uri, rate);
      await delay(ALONE_MS);
      without.push(...(await alone.stop()));
      during.push(...(await latencyWhileBranching(bench, rate)));
    }
    const own = summarize(during);
    const yardstick = summarize(without);
    const ratio = round(own.p99_ms / yardstick.p99_ms);
    print({
      case: `latency of TPC-B on a parent of ${megabytes} MB while 10 branches are made`,
      storage: bench.storage,
      load: rate === undefined ? 'as fast as it goes' : `${rate} transactions per second, half of what goes`,
      ...own,
      yardstick: { name: 'the same without', ...yardstick },
      ratio_p99: ratio,
      target: 1.5,
      ok: ratio <= 1.5,
    });
  }
}

async function latencyWhileBranching({ platform, parents }: Bench, rate: number | undefined): Promise<number[]> {
  const { project, branches } = must(parents.at(-1));
  const load = new PgbenchLoad(project.uri, rate);
  const made: TestBranch[] = [];
  for (let i = 0; i < 10; i++) {
    const branch = await branches.create(project.branchId);
    await firstRow(branch.uri);
    made.push(branch);
  }
  const latencies = await load.stop();
  for (const { branchId } of made) await branches.delete(branchId);
  // What the removal goes on to do must not be counted as what there is without branches.
  await platform.api.suspend(project);
  await settledUsage(platform);
  return latencies;
}

/** A branch's restore to its own past, to the first row through the URI that it always had. */
async function measureRestore({ storage, parents, options }: Bench): Promise<void> {
  const { megabytes, project, branches } = must(parents.at(-1));
  const load = new PgbenchLoad(project.uri);
  const from = Date.now() + 2_000;
  await delay(Math.max(15_000, options.pgbenchSeconds * 1000));
  await load.stop();
  const until = Date.now();
  const times: number[] = [];
  const runs = Math.min(options.runs, 10);
  for (let run = 0; run < runs; run++) {
    const time = new Date(from + Math.random() * (until - from)).toISOString();
    times.push(
      await timed(async () => {
        await branches.restore(project.branchId, project.branchId, { kind: 'time', time }, `restored-${run}`);
        await firstRow(project.uri);
      }),
    );
    const off = await psql(
      project.uri,
      'SELECT (SELECT sum(bbalance) FROM pgbench_branches) - (SELECT coalesce(sum(delta), 0) FROM pgbench_history)',
    );
    if (off !== '0') throw new Error(`The restored branch is off by ${off}`);
  }
  const summary = summarize(times);
  print({
    case: `restore of ${megabytes} MB to a random moment of the last ${Math.round((until - from) / 1000)} s, to the first row`,
    storage,
    ...summary,
    target_ms: 3000,
    ok: summary.p95_ms <= 3000,
  });
}

/** The engine on Tenantry's storage and by itself on the plain filesystem, with the same settings, in turns. */
async function measureTpcB({ platform, storage, options }: Bench): Promise<void> {
  const megabytes = 300;
  const parent = await makeParent(platform, megabytes);
  const { pid, dataPath } = must(platform.compute(parent.project.branchId), 'an awake compute');
  const settings = await settingsOf(parent.project.uri);
  using bare = new BarePostgres(pid, {
    initdbArgs: ['--data-checksums', '-E', 'UTF8', '--locale', 'C.UTF-8'],
    settings,
  });
  await bare.prepare();
  await bare.startToFirstRow();
  await using _ = limitLike(pid, bare.pid);
  await loadPgbench(bare.uri, megabytes);
  const direct = socketUri(parent.project, dataPath);
  const own: number[] = [];
  const plain: number[] = [];
  for (let pair = 0; pair < options.pairs; pair++) {
    own.push(await tpcB(direct, options.pgbenchSeconds));
    plain.push(await tpcB(bare.uri, options.pgbenchSeconds));
  }
  await bare.stop();
  const ratio = round(median(own) / median(plain));
  print({
    case: `pgbench TPC-B, ${megabytes} MB, 4 clients`,
    storage,
    median_tps: round(median(own)),
    count: own.length,
    yardstick: { name: 'the same engine and settings on the plain filesystem', median_tps: round(median(plain)) },
    ratio,
    target: 0.95,
    ok: ratio >= 0.95,
  });
}

/** Settings that a compute was given, but for its paths. */
async function settingsOf(uri: string): Promise<Record<string, string>> {
  const sql = `SELECT coalesce(json_object_agg(name, current_setting(name)), '{}') FROM pg_settings
    WHERE source IN ('configuration file', 'command line')
    AND name !~ 'director|_file|^listen|^port$|^unix_|^cluster_name|^log_|^logging|^restore_|preload|_path|^external_pid|^ssl|^lc_'
    AND context <> 'internal' AND NOT name ~ '[.]'`;
  return JSON.parse(await psql(uri, sql)) as Record<string, string>;
}

/** Straight to the compute, without the gateway. */
function socketUri({ password, uri }: TestProject, dataPath: string): string {
  // Lines of postmaster.pid: pid, data directory, start time, port, socket directory.
  const [, , , port = '', directory = ''] = readFileSync(join(dataPath, 'postmaster.pid'), 'utf8').split('\n');
  const { username, pathname } = new URL(uri);
  const query = `host=${encodeURIComponent(directory)}&port=${port}`;
  return `postgresql://${username}:${encodeURIComponent(password)}@${pathname}?${query}`;
}

/** Many branches of one parent, all awake: what each takes of memory and disk. */
async function measureAwake({ platform, storage, parents, options }: Bench): Promise<void> {
  const { awake: count, awakeParentMb } = options;
  if (count < 1) return;
  const parent = parents.find((p) => p.megabytes === awakeParentMb) ?? (await makeParent(platform, awakeParentMb));
  // All parents: one that is awake goes on writing what other cases have left in its buffers.
  for (const { project } of new Set([...parents, parent])) await platform.api.suspend(project);
  const before = await settledUsage(platform);
  const made: TestBranch[] = [];
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    times.push(
      await timed(async () => {
        const branch = await parent.branches.create(parent.project.branchId);
        await firstRow(branch.uri);
        made.push(branch);
      }),
    );
  }
  // As it is: computes that are awake are never still.
  const disk = ((await diskUsage(platform)).bytes - before) / count;
  const sizes = made.map(({ branchId }) => {
    const compute = must(platform.compute(branchId), 'an awake compute');
    const memory = withDescendants([compute.pid]).map(({ pid }) => memoryOf(pid));
    const sum = (key: 'pss' | 'privateBytes'): number => memory.reduce((total, m) => total + m[key], 0) / MB;
    return { own: sum('privateBytes'), pss: sum('pss') };
  });
  print({
    case: `${count} branches of one parent of ${parent.megabytes} MB, all awake`,
    storage,
    private_mb_each: round(median(sizes.map((s) => s.own))),
    pss_mb_each: round(median(sizes.map((s) => s.pss))),
    disk_mb_each: round(disk / MB),
    create_to_first_row: summarize(times),
    count,
  });
  for (const { branchId } of made) await parent.branches.delete(branchId);
}

/** Bytes on disk once what runs in the background, such as the freeing of deleted volumes, has ended. */
async function settledUsage(platform: RunningPlatform): Promise<number> {
  let last = Number.NaN;
  return await waitUntil(
    'disk usage that stays',
    async () => {
      const { bytes } = await diskUsage(platform);
      const isSettled = Math.abs(bytes - last) < MB / 4;
      last = bytes;
      if (!isSettled) await delay(3_000);
      return isSettled && bytes;
    },
    120_000,
  );
}

/** Connects, reads one row, leaves. */
async function firstRow(uri: string): Promise<void> {
  const client = new Client({ connectionString: uri, connectionTimeoutMillis: 60_000 });
  client.on('error', () => {});
  await client.connect();
  await client.query(FIRST_ROW);
  await client.end();
}
