import { readFileSync, readdirSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findProcessesByCommand, isAlive } from '../compute/process-table.ts';
import { must } from '../kernel/assert.ts';
import { PlatformError } from '../kernel/errors.ts';
import { readControlFile, type ControlState } from '../wal/control-file.ts';
import type { EndpointSpec } from './host.ts';
import type { LocalHost } from './local-host.ts';
import {
  addEndpoint,
  connectSocket,
  connectTenant,
  isRoot,
  makeHost,
  makeTestBed,
  reportOf,
  specOf,
  UID_BASE,
  volumeOf,
  waitFor,
  type TestBed,
} from './testing/test-host.ts';

let bed: TestBed;
let host: LocalHost;

beforeAll(async () => {
  bed = makeTestBed();
  host = await makeHost(bed);
});

afterAll(async () => {
  await host.stopAll();
  expect(findProcessesByCommand(bed.directory)).toEqual([]);
  bed.dispose();
});

/** The postmaster's pid, from the data directory. */
function postmasterOf(spec: EndpointSpec): number {
  return Number(readFileSync(join(bed.directory, 'volumes', spec.volumeId, 'postmaster.pid'), 'utf8').split('\n')[0]);
}

const codeOfFailure = async (work: Promise<unknown>): Promise<string | undefined> =>
  await work.then(
    () => undefined,
    (error: unknown) => (error instanceof PlatformError ? error.code : String(error)),
  );

describe('waking', () => {
  test('a thousand acquires share one start', async () => {
    const spec = await addEndpoint(host, 'thousand');
    const addresses = await Promise.all(Array.from({ length: 1000 }, async () => await host.acquire(spec.endpointId)));
    expect(new Set(addresses.map((a) => a.computeId)).size).toBe(1);
    expect((await reportOf(host, spec)).runs).toHaveLength(1);
    const client = await connectTenant(host, spec);
    expect((await client.query('SELECT current_user')).rows).toEqual([{ current_user: 'neondb_owner' }]);
    await client.end();
  });

  test('500 races of suspend and acquire give no error and keep every row', async () => {
    const spec = await addEndpoint(host, 'races');
    const client = await connectTenant(host, spec);
    await client.query('CREATE TABLE seen (n int)');
    await client.end();
    for (let n = 0; n < 500; n++) {
      const acquires = [host.acquire(spec.endpointId), host.suspend(spec.endpointId), host.acquire(spec.endpointId)];
      await Promise.all(n % 2 ? acquires : acquires.reverse());
    }
    const again = await connectTenant(host, spec);
    await again.query('INSERT INTO seen VALUES (1)');
    await again.end();
    expect(findProcessesByCommand(`${bed.directory}/volumes/${spec.volumeId} `)).toHaveLength(1);
  }, 600_000);

  test('an acquire that comes while the compute is suspending waits and is served', async () => {
    const spec = await addEndpoint(host, 'waits');
    const first = await host.acquire(spec.endpointId);
    const { version } = await reportOf(host, spec);
    const suspended = host.suspend(spec.endpointId);
    for await (const report of host.reports(version, new AbortController().signal)) {
      if (report.endpointId === spec.endpointId && report.state === 'suspending') break;
    }
    const second = await host.acquire(spec.endpointId);
    await suspended;
    expect(second.computeId).not.toBe(first.computeId);
    await (await connectTenant(host, spec)).end();
  });

  test('a caller that goes away leaves the others alone', async () => {
    const spec = await addEndpoint(host, 'aborts');
    const abort = new AbortController();
    const gone = host.acquire(spec.endpointId, abort.signal);
    const stays = host.acquire(spec.endpointId);
    abort.abort(new Error('gone'));
    await expect(gone).rejects.toThrow('gone');
    await stays;
  });

  test('an unknown endpoint is not found', async () => {
    expect(await codeOfFailure(host.acquire('ep-nowhere'))).toBe('NOT_FOUND');
  });

  test('an endpoint without its volume fails with a reason, and the next acquire tries again', async () => {
    const spec = specOf('late');
    await host.applySpec(spec);
    expect(await codeOfFailure(host.acquire(spec.endpointId))).toBe('COMPUTE_START_FAILED');
    expect((await reportOf(host, spec)).failure).toMatch(/volume/);
    await host.createVolume(volumeOf(spec));
    await host.acquire(spec.endpointId);
    expect(await reportOf(host, spec)).toMatchObject({ state: 'active', failure: null });
  });

  test('two endpoints never run on one volume', async () => {
    const spec = await addEndpoint(host, 'first-of-two');
    await host.applySpec(specOf('second-of-two', { volumeId: spec.volumeId }));
    await host.acquire(spec.endpointId);
    expect(await codeOfFailure(host.acquire('ep-second-of-two'))).toBe('COMPUTE_START_FAILED');
    await host.suspend(spec.endpointId);
    await host.acquire('ep-second-of-two');
    expect(await codeOfFailure(host.acquire(spec.endpointId))).toBe('COMPUTE_START_FAILED');
  });

  test('the host carries no more computes than it may', async () => {
    const small = makeTestBed({ computesAwakeMax: 1 });
    const limited = await makeHost(small);
    const [a, b] = [await addEndpoint(limited, 'a'), await addEndpoint(limited, 'b')];
    await limited.acquire(a.endpointId);
    expect(await codeOfFailure(limited.acquire(b.endpointId))).toBe('ACTIVE_ENDPOINTS_LIMIT_EXCEEDED');
    await limited.suspend(a.endpointId);
    await limited.acquire(b.endpointId);
    expect(await limited.info()).toMatchObject({ computesAwake: 1, computesAwakeMax: 1 });
    await limited.stopAll();
    small.dispose();
  });
});

describe('crashes', () => {
  test('a killed Postgres is started by the next acquire, and no commit is lost', async () => {
    const spec = await addEndpoint(host, 'killed');
    const client = await connectTenant(host, spec);
    await client.query('CREATE TABLE kept AS SELECT 42 AS n');
    process.kill(postmasterOf(spec), 'SIGKILL');
    await waitFor('crash seen', 5000, async () => (await reportOf(host, spec)).state === 'failed');
    expect((await reportOf(host, spec)).failure).toMatch(/SIGKILL/);
    const again = await connectTenant(host, spec);
    expect((await again.query('SELECT n FROM kept')).rows).toEqual([{ n: 42 }]);
    await again.end();
  });

  test('a killed backend ends the compute, and the next acquire starts it', async () => {
    const spec = await addEndpoint(host, 'backend');
    const client = await connectTenant(host, spec);
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    process.kill(must(rows[0]).pid, 'SIGKILL');
    await waitFor('crash seen', 5000, async () => (await reportOf(host, spec)).state === 'failed');
    await (await connectTenant(host, spec)).end();
  });

  test('8 kills at random moments of a start never leave two or none', async () => {
    const spec = await addEndpoint(host, 'unlucky');
    for (let i = 0; i < 8; i++) {
      const acquiring = codeOfFailure(host.acquire(spec.endpointId));
      await new Promise((r) => setTimeout(r, i * 4));
      for (const { identity } of findProcessesByCommand(`${bed.directory}/volumes/${spec.volumeId} `)) {
        process.kill(identity.pid, 'SIGKILL');
        // Until then it looks alive, and an address that nobody answers is given out.
        await waitFor('its death', 5000, async () => !isAlive(identity));
      }
      expect([undefined, 'COMPUTE_START_FAILED']).toContain(await acquiring);
    }
    await waitFor('a start', 60_000, async () => (await codeOfFailure(host.acquire(spec.endpointId))) === undefined);
    await (await connectTenant(host, spec)).end();
    expect(findProcessesByCommand(`${bed.directory}/volumes/${spec.volumeId} `)).toHaveLength(1);
  });

  test('a compute that must never sleep comes back by itself', async () => {
    const spec = await addEndpoint(host, 'sleepless', { suspendTimeoutSeconds: -1 });
    await host.acquire(spec.endpointId);
    const pid = postmasterOf(spec);
    process.kill(pid, 'SIGKILL');
    await waitFor('another one', 10_000, async () => {
      const { state } = await reportOf(host, spec);
      return state === 'active' && postmasterOf(spec) !== pid;
    });
  });
});

describe('the desired state', () => {
  test('disabling suspends, and nothing wakes it until it is enabled', async () => {
    const spec = await addEndpoint(host, 'disabled');
    await host.acquire(spec.endpointId);
    await host.applySpec({ ...spec, generation: 2, disabled: true });
    expect((await reportOf(host, spec)).state).toBe('idle');
    expect(await codeOfFailure(host.acquire(spec.endpointId))).toBe('ENDPOINT_DISABLED');
    await host.applySpec(spec);
    expect(await codeOfFailure(host.acquire(spec.endpointId))).toBe('ENDPOINT_DISABLED');
    await host.applySpec({ ...spec, generation: 3 });
    await host.acquire(spec.endpointId);
  });

  async function controlStateOf({ volumeId }: EndpointSpec): Promise<ControlState> {
    return (await readControlFile(join(bed.directory, 'volumes', volumeId))).control.state;
  }

  /** Commits that do not wait for their WAL. */
  async function commitAsync(spec: EndpointSpec): Promise<void> {
    const client = await connectTenant(host, spec);
    await client.query('CREATE TABLE kept (n int)');
    await client.query('SET synchronous_commit = off');
    for (let n = 0; n < 200; n++) await client.query('INSERT INTO kept VALUES ($1)', [n]);
  }

  async function expectCommits(spec: EndpointSpec): Promise<void> {
    const again = await connectTenant(host, spec);
    expect((await again.query('SELECT count(*)::int FROM kept')).rows).toEqual([{ count: 200 }]);
    await again.end();
  }

  /** Stops it for a deleted branch, and has it back as after a recovery. */
  async function deleteAndRecover(spec: EndpointSpec): Promise<ControlState> {
    await host.applySpec({ ...spec, generation: 2, disabled: true, branchDeleted: true });
    const state = await controlStateOf(spec);
    await host.applySpec({ ...spec, generation: 3 });
    return state;
  }

  test('a deleted branch is stopped without a checkpoint, and has all its commits when it is recovered', async () => {
    const spec = await addEndpoint(host, 'deleted');
    await commitAsync(spec);
    expect(await deleteAndRecover(spec)).toBe('in production');
    await expectCommits(spec);
  });

  test('one with an unlogged table is stopped cleanly, and has its rows', async () => {
    const spec = await addEndpoint(host, 'deleted-unlogged');
    const client = await connectTenant(host, spec);
    await client.query('CREATE UNLOGGED TABLE kept AS SELECT 1 AS n');
    expect(await deleteAndRecover(spec)).toBe('shut down');
    const again = await connectTenant(host, spec);
    expect((await again.query('SELECT n FROM kept')).rows).toEqual([{ n: 1 }]);
    await again.end();
  });

  test('a removed endpoint is stopped without a checkpoint if its volume goes too', async () => {
    const [goes, stays] = [await addEndpoint(host, 'volume-goes'), await addEndpoint(host, 'volume-stays')];
    for (const spec of [goes, stays]) {
      await host.acquire(spec.endpointId);
      await host.removeEndpoint(spec.endpointId, [goes.volumeId]);
    }
    expect(await controlStateOf(goes)).toBe('in production');
    expect(await controlStateOf(stays)).toBe('shut down');
  });

  test('the volume that a restore leaves is stopped without a checkpoint, and has all its commits', async () => {
    const spec = await addEndpoint(host, 'restored');
    await commitAsync(spec);
    const other = { ...spec, generation: 2, volumeId: 'vol-restored-to' };
    await host.createVolume(volumeOf(other));
    await host.applySpec(other);
    expect(await controlStateOf(spec)).toBe('in production');
    await host.acquire(spec.endpointId);
    await host.applySpec({ ...spec, generation: 3 });
    await expectCommits(spec);
  });

  test('settings that can be reloaded are, others restart', async () => {
    const spec = await addEndpoint(host, 'settings');
    const client = await connectTenant(host, spec);
    const show = async (name: string): Promise<unknown> => (await client.query(`SHOW ${name}`)).rows[0];
    await host.applySpec({ ...spec, generation: 2, pgSettings: { work_mem: '7MB' } });
    await waitFor('the reload', 5000, async () => JSON.stringify(await show('work_mem')).includes('7MB'));
    await host.applySpec({ ...spec, generation: 3, pgSettings: { max_prepared_transactions: '3' } });
    await expect(client.query('SELECT 1')).rejects.toThrow();
    const again = await connectTenant(host, spec);
    expect((await again.query('SHOW max_prepared_transactions')).rows).toEqual([{ max_prepared_transactions: '3' }]);
    await again.end();
    expect(await codeOfFailure(host.applySpec({ ...spec, generation: 4, pgSettings: { fsync: 'off' } }))).toBe(
      'INVALID_REQUEST',
    );
  });

  test('a new size restarts and is another run', async () => {
    const spec = await addEndpoint(host, 'size');
    await host.acquire(spec.endpointId);
    await host.applySpec({ ...spec, generation: 2, minCu: 1, maxCu: 1 });
    const client = await connectTenant(host, spec);
    expect((await client.query('SHOW max_connections')).rows).toEqual([{ max_connections: '419' }]);
    await client.end();
    expect((await reportOf(host, spec)).runs.map(({ cu, ended }) => ({ cu, ended }))).toEqual([
      { cu: 0.25, ended: true },
      { cu: 1, ended: false },
    ]);
  });

  test('a restart gives another process; one that sleeps cannot be restarted', async () => {
    const spec = await addEndpoint(host, 'restart');
    expect(await codeOfFailure(host.restart(spec.endpointId))).toBe('CONFLICT');
    const { computeId } = await host.acquire(spec.endpointId);
    await host.restart(spec.endpointId);
    expect((await host.acquire(spec.endpointId)).computeId).not.toBe(computeId);
  });

  test('a value that Postgres refuses is refused in its words, and the endpoint keeps what it had', async () => {
    const spec = await addEndpoint(host, 'bad-value', { pgSettings: { work_mem: '7MB' } });
    for (const [name, value] of [
      ['default_transaction_isolation', 'strange'],
      ['work_mem', '-5'],
      ['timezone', 'nope'],
      ['max_locks_per_transaction', '1000000'],
    ] as const) {
      const refused = host.applySpec({ ...spec, generation: 2, pgSettings: { [name]: value } });
      const error = await refused.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toMatchObject({ code: 'INVALID_REQUEST', message: expect.stringMatching(new RegExp(name, 'i')) });
      expect(String(error)).not.toContain(bed.directory);
    }
    const client = await connectTenant(host, spec);
    expect((await client.query<{ work_mem: string }>('SHOW work_mem')).rows[0]?.work_mem).toBe('7MB');
    await client.end();
  });

  test('a removed endpoint is gone, its volume can be deleted', async () => {
    const spec = await addEndpoint(host, 'removed');
    await host.acquire(spec.endpointId);
    expect(await codeOfFailure(host.deleteVolume(spec.volumeId))).toBe('CONFLICT');
    await host.removeEndpoint(spec.endpointId);
    await host.removeEndpoint(spec.endpointId);
    expect(await codeOfFailure(host.acquire(spec.endpointId))).toBe('NOT_FOUND');
    await host.deleteVolume(spec.volumeId);
  });
});

describe('usage', () => {
  test('of a removed endpoint is reported until it is acknowledged, over a restart of the host', async () => {
    const other = makeTestBed();
    const first = await makeHost(other);
    const [spec, unused] = [await addEndpoint(first, 'removed'), await addEndpoint(first, 'unused')];
    await first.acquire(spec.endpointId);
    await first.removeEndpoint(unused.endpointId);
    await first.removeEndpoint(spec.endpointId);
    await first.removeEndpoint(spec.endpointId);
    const { runs, version } = await reportOf(first, spec);
    expect(runs).toMatchObject([{ ended: true }]);
    expect(await codeOfFailure(first.acquire(spec.endpointId))).toBe('NOT_FOUND');
    await first.detach();
    const second = await makeHost(other);
    const again = await reportOf(second, spec);
    expect(again).toMatchObject({ state: 'idle', runs });
    // To those who have seen it already, too.
    expect(again.version).toBeGreaterThan(version);
    expect(await codeOfFailure(second.acquire(spec.endpointId))).toBe('NOT_FOUND');
    await second.acknowledgeRuns([must(runs[0]).computeId]);
    const left = AbortSignal.timeout(50);
    for await (const report of second.reports(0, left)) expect(report).toBeUndefined();
    expect(readdirSync(join(other.directory, 'host/endpoints'))).toEqual([]);
    await second.stopAll();
    other.dispose();
  });

  test('goes on with an endpoint that is made again', async () => {
    const spec = await addEndpoint(host, 'reborn');
    await host.acquire(spec.endpointId);
    await host.removeEndpoint(spec.endpointId);
    await host.applySpec(spec);
    await host.acquire(spec.endpointId);
    const { runs } = await reportOf(host, spec);
    expect(runs.map(({ ended }) => ended)).toEqual([true, false]);
    await host.acknowledgeRuns(runs.map(({ computeId }) => computeId));
    expect((await reportOf(host, spec)).runs).toHaveLength(1);
  });

  test('an acquire that comes while the endpoint is removed leaves nothing running', async () => {
    const spec = await addEndpoint(host, 'leaving');
    for (let round = 0; round < 20; round++) {
      await host.acquire(spec.endpointId);
      const acquires = Array.from({ length: 30 }, async (_, n) => {
        await new Promise((r) => setTimeout(r, n));
        return await codeOfFailure(host.acquire(spec.endpointId));
      });
      await host.removeEndpoint(spec.endpointId);
      for (const code of await Promise.all(acquires)) expect([undefined, 'NOT_FOUND']).toContain(code);
      expect(findProcessesByCommand(`${bed.directory}/volumes/${spec.volumeId} `)).toEqual([]);
      await host.applySpec(spec);
    }
  });

  test('a run is reported until it is acknowledged', async () => {
    const spec = await addEndpoint(host, 'usage');
    await host.acquire(spec.endpointId);
    await host.suspend(spec.endpointId);
    const [run] = (await reportOf(host, spec)).runs;
    expect(run).toMatchObject({ cu: 0.25, ended: true });
    await host.acknowledgeRuns([run?.computeId ?? '']);
    expect((await reportOf(host, spec)).runs).toEqual([]);
  });

  test('a reader gets what is newer than what it saw, then what comes', async () => {
    const spec = await addEndpoint(host, 'feed');
    const { version } = await reportOf(host, spec);
    const abort = new AbortController();
    const states: string[] = [];
    const reading = (async () => {
      for await (const report of host.reports(version, abort.signal)) {
        if (report.endpointId === spec.endpointId) states.push(report.state);
        if (states.includes('active')) return;
      }
    })();
    await host.acquire(spec.endpointId);
    await reading;
    expect(states.at(-1)).toBe('active');
  });
});

describe.runIf(isRoot)('isolation as root', () => {
  test('each project has its own OS user and each compute its cgroup, removed after the stop', async () => {
    const spec = await addEndpoint(host, 'isolated', { minCu: 0.25, maxCu: 0.5 });
    const other = await addEndpoint(host, 'isolated-too');
    await host.acquire(spec.endpointId);
    await host.acquire(other.endpointId);
    const uids = [spec, other].map(
      (s) => /Uid:\s+(\d+)/.exec(readFileSync(`/proc/${postmasterOf(s)}/status`, 'utf8'))?.[1],
    );
    expect(new Set(uids).size).toBe(2);
    for (const uid of uids) expect(Number(uid)).toBeGreaterThan(UID_BASE);
    const pid = postmasterOf(spec);
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/Groups:\s*\n/);
    expect(Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'))).toBeGreaterThan(0);
    const { cgroups } = (await host.info()).isolation;
    if (cgroups === 'none') return;
    const groupOf = (controller: string): string =>
      /[^:]*$/.exec(
        readFileSync(`/proc/${pid}/cgroup`, 'utf8')
          .split('\n')
          .find((l) => l.includes(controller)) ?? '',
      )?.[0] ?? '';
    if (cgroups === 'v1') {
      const read = (controller: string, file: string): string =>
        readFileSync(join('/sys/fs/cgroup', controller, groupOf(`:${controller}:`), file), 'utf8').trim();
      expect(read('cpu', 'cpu.cfs_quota_us')).toBe('50000');
      const all = join('/sys/fs/cgroup/cpu', groupOf(':cpu:'), '../cpu.shares');
      expect(Number(readFileSync(all, 'utf8'))).toBe(1024 * availableParallelism());
      expect(read('memory', 'memory.limit_in_bytes')).toBe(String(2 * 1024 ** 3));
      // Children are born into the group.
      expect(read('memory', 'cgroup.procs').split('\n').length).toBeGreaterThan(3);
    }
    const group = join('/sys/fs/cgroup', cgroups === 'v1' ? 'cpu' : '', groupOf(cgroups === 'v1' ? ':cpu:' : '0::'));
    await host.suspend(spec.endpointId);
    await waitFor('the cgroup to go', 5000, () => statSync(group, { throwIfNoEntry: false }) === undefined);
  });

  test('nothing in a run directory can be written by the tenant but its socket directory', async () => {
    const spec = await addEndpoint(host, 'files');
    const address = await host.acquire(spec.endpointId);
    if (address.kind !== 'unix') throw new Error('not a socket');
    expect(address.socketPath.length).toBeLessThan(100);
    const socketDirectory = join(address.socketPath, '..');
    const uid = Number(/Uid:\s+(\d+)/.exec(readFileSync(`/proc/${postmasterOf(spec)}/status`, 'utf8'))?.[1]);
    expect(statSync(socketDirectory)).toMatchObject({ uid, mode: 0o40_700 });
    const runDirectory = join(socketDirectory, '..');
    expect(statSync(runDirectory)).toMatchObject({ uid: 0, gid: uid, mode: 0o40_750 });
    for (const name of readdirSync(runDirectory).filter((n) => n !== 's')) {
      const { uid: owner, mode } = statSync(join(runDirectory, name));
      expect({ name, owner, othersMay: mode & 0o027 }).toEqual({ name, owner: 0, othersMay: 0 });
    }
    await (await connectSocket(address.socketPath)).end();
  });
});
