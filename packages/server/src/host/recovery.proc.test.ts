import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findProcessesByCommand, isAlive } from '../compute/process-table.ts';
import { must } from '../kernel/assert.ts';
import { PlatformError } from '../kernel/errors.ts';
import { HostClient } from './host-client.ts';
import type { EndpointReport, EndpointSpec } from './host.ts';
import { killChild, killChildren, startChild } from './testing/child-host.ts';
import {
  addEndpoint,
  connectSocket,
  connectTenant,
  isRoot,
  makeHost,
  makeTestBed,
  reportOf,
  waitFor,
  type TestBed,
} from './testing/test-host.ts';

let bed: TestBed;
let socketPath: string;

beforeEach(() => {
  bed = makeTestBed();
  socketPath = join(bed.directory, 'host.sock');
});

afterEach(async () => {
  await killChildren();
  const host = await makeHost(bed);
  await host.stopAll();
  expect(findProcessesByCommand(`${bed.directory}/run`)).toEqual([]);
  bed.dispose();
});

const postmastersOf = (spec: EndpointSpec): number =>
  findProcessesByCommand(`${bed.directory}/volumes/${spec.volumeId} `).length;

describe('a host that comes back', () => {
  test('finds the computes that were let go of, with their sessions and their usage', async () => {
    const first = await makeHost(bed);
    const spec = await addEndpoint(first, 'adopted', { suspendTimeoutSeconds: 2 });
    const client = await connectTenant(first, spec);
    const { computeId } = await first.acquire(spec.endpointId);
    await first.detach();
    const second = await makeHost(bed);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(await second.acquire(spec.endpointId)).toMatchObject({ computeId });
    const before = await reportOf(second, spec);
    expect(before.runs).toMatchObject([{ computeId, ended: false }]);
    // It watches the adopted one as any other.
    await waitFor('suspended', 10_000, async () => (await reportOf(second, spec)).state === 'idle');
    const [run] = (await reportOf(second, spec)).runs;
    expect(run).toMatchObject({ computeId, ended: true });
    expect(run?.startedAt).toBe(before.runs[0]?.startedAt);
    await second.detach();
  });

  test('notices that an adopted compute is killed', async () => {
    const first = await makeHost(bed);
    const spec = await addEndpoint(first, 'adopted');
    await first.acquire(spec.endpointId);
    await first.detach();
    const second = await makeHost(bed);
    const { computeId } = await second.acquire(spec.endpointId);
    const [found] = findProcessesByCommand(`${bed.directory}/volumes/${spec.volumeId} `);
    process.kill(must(found).identity.pid, 'SIGKILL');
    await waitFor('its end', 5000, () => !isAlive(must(found).identity));
    expect((await second.acquire(spec.endpointId)).computeId).not.toBe(computeId);
    await (await connectTenant(second, spec)).end();
    expect(postmastersOf(spec)).toBe(1);
    await second.detach();
  });

  test('closes the life of a compute that ended while no host was there', async () => {
    const first = await makeHost(bed);
    const spec = await addEndpoint(first, 'unseen');
    await first.acquire(spec.endpointId);
    await first.detach();
    const [found] = findProcessesByCommand(`${bed.directory}/volumes/${spec.volumeId} `);
    process.kill(must(found).identity.pid, 'SIGKILL');
    await waitFor('its end', 5000, () => postmastersOf(spec) === 0);
    const second = await makeHost(bed);
    expect(await reportOf(second, spec)).toMatchObject({ state: 'idle', runs: [{ ended: true }] });
    expect(readdirSync(join(bed.directory, 'run/c'))).toEqual([]);
    await (await connectTenant(second, spec)).end();
    await second.detach();
  });

  test('stops a compute whose endpoint it does not have', async () => {
    const first = await makeHost(bed);
    const spec = await addEndpoint(first, 'orphan');
    await first.acquire(spec.endpointId);
    await first.detach();
    rmSync(join(bed.directory, 'host/endpoints', spec.endpointId), { recursive: true });
    const second = await makeHost(bed);
    await waitFor('its end', 10_000, () => postmastersOf(spec) === 0);
    await second.detach();
  });

  test('asks for a spec that is damaged, and goes on with it', async () => {
    const first = await makeHost(bed);
    const spec = await addEndpoint(first, 'damaged');
    const unused = await addEndpoint(first, 'damaged-too');
    const client = await connectTenant(first, spec);
    await client.query('CREATE TABLE kept AS SELECT 7 AS n');
    await client.end();
    await first.detach();
    for (const { endpointId } of [spec, unused]) {
      writeFileSync(join(bed.directory, 'host/endpoints', endpointId, 'spec.json'), '{"endpointId":');
    }
    const second = await makeHost(bed);
    await waitFor('its end', 10_000, () => postmastersOf(spec) === 0);
    for (let i = 0; i < 2; i++) {
      await expect(second.acquire(spec.endpointId)).rejects.toMatchObject({ isRetryable: true });
    }
    expect(await reportOf(second, spec)).toMatchObject({ generation: 0, state: 'idle', runs: [{ ended: true }] });
    await second.applySpec(spec);
    expect(await reportOf(second, spec)).toMatchObject({ generation: spec.generation, runs: [{ ended: true }] });
    const again = await connectTenant(second, spec);
    expect((await again.query('SELECT n FROM kept')).rows).toEqual([{ n: 7 }]);
    await again.end();
    await second.removeEndpoint(unused.endpointId);
    await expect(second.acquire(unused.endpointId)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await second.detach();
  });

  test('ends a life that the last host saw end and could not write down, and gives its usage away', async () => {
    const first = await makeHost(bed);
    const spec = await addEndpoint(first, 'two-lives');
    const { computeId } = await first.acquire(spec.endpointId);
    await first.detach();
    // As of a host that was killed while the end of one life was on its way to the disk and the next had begun.
    const before = `${computeId}-before`;
    changeReport(spec, ({ runs }) => ({ runs: [{ ...must(runs[0]), computeId: before }] }));
    const second = await makeHost(bed);
    const { runs } = await reportOf(second, spec);
    expect(runs).toMatchObject([
      { computeId: before, ended: true },
      { computeId, ended: false },
    ]);
    await second.removeEndpoint(spec.endpointId);
    await second.acknowledgeRuns([before, computeId]);
    expect(readdirSync(join(bed.directory, 'host/endpoints'))).toEqual([]);
    await second.detach();
  });

  test('takes over a compute whose last report says that it has failed', async () => {
    const first = await makeHost(bed);
    const spec = await addEndpoint(first, 'stale');
    const { computeId } = await first.acquire(spec.endpointId);
    await first.detach();
    // As of a host that was killed right after a start that followed a failure.
    changeReport(spec, () => ({ state: 'failed' }));
    const second = await makeHost(bed);
    expect(await second.acquire(spec.endpointId)).toMatchObject({ computeId });
    await second.detach();
  });

  test('stops a compute whose endpoint is disabled, and waits for it on enabling', async () => {
    const first = await makeHost(bed);
    const spec = await addEndpoint(first, 'disabled');
    const { computeId } = await first.acquire(spec.endpointId);
    await first.detach();
    const specPath = join(bed.directory, 'host/endpoints', spec.endpointId, 'spec.json');
    writeFileSync(specPath, JSON.stringify({ ...spec, generation: 2, disabled: true }));
    const second = await makeHost(bed);
    expect((await reportOf(second, spec)).state).toBe('suspending');
    await second.applySpec({ ...spec, generation: 3 });
    expect((await second.acquire(spec.endpointId)).computeId).not.toBe(computeId);
    expect(postmastersOf(spec)).toBe(1);
    await second.detach();
  });

  test('keeps the number of each project', async () => {
    const first = await makeHost(bed);
    await addEndpoint(first, 'a');
    await addEndpoint(first, 'b');
    await first.detach();
    const second = await makeHost(bed);
    await addEndpoint(second, 'c');
    if (isRoot)
      expect(readdirSync(join(bed.directory, 'host/uids')).sort()).toEqual([
        '0-project-a',
        '1-project-b',
        '2-project-c',
      ]);
    await second.detach();
  });
});

/** Puts other words into the report on the disk. */
function changeReport({ endpointId }: EndpointSpec, change: (report: EndpointReport) => Partial<EndpointReport>): void {
  const path = join(bed.directory, 'host/endpoints', endpointId, 'report.json');
  const report = JSON.parse(readFileSync(path, 'utf8')) as EndpointReport;
  writeFileSync(path, JSON.stringify({ ...report, ...change(report) }));
}

describe('a host process that is killed', () => {
  test('20 times at random moments under load: callers see it slow, never broken, and there is never a second Postgres', async () => {
    let child = await startChild(bed.directory, socketPath);
    const client = new HostClient({ socketPath });
    const specs = await Promise.all(['k1', 'k2', 'k3'].map(async (name) => await addEndpoint(client as never, name)));
    const began = performance.now();
    const marked = await connectTenant(client as never, specs[0] as EndpointSpec);
    // In the time that a start takes here: on a slow machine no call would ever be done before the next kill.
    const coldMs = performance.now() - began;
    await marked.query('CREATE TABLE acknowledged (n int)');
    const done = new AbortController();
    const acknowledged: number[] = [];
    const failures: unknown[] = [];
    const load = specs.map(async (spec, i) => {
      for (let n = 0; !done.signal.aborted; n++) {
        try {
          const address = await client.acquire(spec.endpointId);
          if (i === 0 && address.kind === 'unix') {
            const session = await connectSocket(address.socketPath);
            await session.query('INSERT INTO acknowledged VALUES ($1)', [n]);
            acknowledged.push(n);
            await session.end();
          }
          if (i > 0 && n % 3 === 0) await client.suspend(spec.endpointId);
        } catch (error) {
          failures.push(error);
        }
      }
    });
    for (let i = 0; i < 20; i++) {
      await new Promise((r) => setTimeout(r, 20 + Math.random() * 2 * coldMs));
      await killChild(child);
      child = await startChild(bed.directory, socketPath);
      for (const spec of specs) expect(postmastersOf(spec)).toBeLessThanOrEqual(1);
    }
    done.abort();
    await Promise.all(load);
    expect(failures).toEqual([]);
    // The session lived through all of it: its compute was never touched.
    const { rows } = await marked.query<{ n: number }>('SELECT n FROM acknowledged');
    const kept = new Set(rows.map(({ n }) => n));
    expect(acknowledged.filter((n) => !kept.has(n))).toEqual([]);
    expect(acknowledged.length).toBeGreaterThan(0);
    await marked.end();
    client.close();
    await killChild(child);
  });
});

describe('a compute that is slow to stop', () => {
  let frozen: number[];
  beforeEach(() => (frozen = []));
  afterEach(() => thaw());

  /** Without its checkpointer no Postgres ends in good order: a stop lasts until `thaw`. */
  async function freezeStop(host: HostClient, spec: EndpointSpec): Promise<void> {
    const session = await connectTenant(host as never, spec);
    const sql = `SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'`;
    const { pid } = must((await session.query<{ pid: number }>(sql)).rows[0]);
    await session.end();
    frozen.push(pid);
    process.kill(pid, 'SIGSTOP');
  }

  const thaw = (): void => frozen.splice(0).forEach((pid) => process.kill(pid, 'SIGCONT'));

  const isStopping = ({ volumeId }: EndpointSpec): boolean =>
    readFileSync(join(bed.directory, 'volumes', volumeId, 'postmaster.pid'), 'utf8').includes('stopping');

  test('holds up callers of its own endpoint, and nobody else, when the host is killed meanwhile', async () => {
    let child = await startChild(bed.directory, socketPath);
    const client = new HostClient({ socketPath });
    const [slow, awake, asleep] = await Promise.all(
      (['slow', 'awake', 'asleep'] as const).map(async (name) => await addEndpoint(client as never, name)),
    );
    await freezeStop(client, must(slow));
    const before = await client.acquire(must(slow).endpointId);
    const running = await client.acquire(must(awake).endpointId);
    const suspending = client.suspend(must(slow).endpointId);
    await waitFor('the stop under way', 10_000, () => isStopping(must(slow)));
    await killChild(child);
    child = await startChild(bed.directory, socketPath);
    expect(await client.acquire(must(awake).endpointId)).toEqual(running);
    await (await connectTenant(client as never, must(asleep))).end();
    expect((await reportOf(client, must(slow))).state).toBe('suspending');
    let isHeld = true;
    const held = client.acquire(must(slow).endpointId).finally(() => (isHeld = false));
    await waitFor('the held call', 10_000, async () => (await reportOf(client, must(slow))).state === 'starting');
    expect([isHeld, isStopping(must(slow)), postmastersOf(must(slow))]).toEqual([true, true, 1]);
    thaw();
    expect((await held).computeId).not.toBe(before.computeId);
    await suspending;
    await (await connectTenant(client as never, must(slow))).end();
    expect(postmastersOf(must(slow))).toBe(1);
    expect((await reportOf(client, must(slow))).runs.filter(({ ended }) => !ended)).toHaveLength(1);
    client.close();
    await killChild(child);
  });

  test('holds up who needs its volume where its endpoint is gone', async () => {
    let child = await startChild(bed.directory, socketPath);
    const client = new HostClient({ socketPath });
    const [again, left] = await Promise.all(['again', 'left'].map((name) => addEndpoint(client as never, name)));
    for (const spec of [must(again), must(left)]) await freezeStop(client, spec);
    await killChild(child);
    for (const { endpointId } of [must(again), must(left)])
      rmSync(join(bed.directory, 'host/endpoints', endpointId), { recursive: true });
    child = await startChild(bed.directory, socketPath);
    await client.applySpec(must(again));
    const settled: string[] = [];
    const held = client.acquire(must(again).endpointId).finally(() => settled.push('acquire'));
    const deleted = client.deleteVolume(must(left).volumeId).finally(() => settled.push('delete'));
    await waitFor('both stops under way', 10_000, () => [must(again), must(left)].every(isStopping));
    await waitFor('the held call', 10_000, async () => (await reportOf(client, must(again))).state === 'starting');
    expect(settled).toEqual([]);
    expect(existsSync(join(bed.directory, 'volumes', must(left).volumeId, 'PG_VERSION'))).toBe(true);
    thaw();
    await Promise.all([held, deleted]);
    await (await connectTenant(client as never, must(again))).end();
    expect([postmastersOf(must(again)), postmastersOf(must(left))]).toEqual([1, 0]);
    expect(readdirSync(join(bed.directory, 'run/c'))).toHaveLength(1);
    client.close();
    await killChild(child);
  });
});

describe('the host over its socket', () => {
  test('passes failures, aborts and reports, and is quick when awake', async () => {
    const child = await startChild(bed.directory, socketPath);
    const client = new HostClient({ socketPath, retryMs: 500 });
    const spec = await addEndpoint(client as never, 'remote');
    await expect(client.acquire('ep-nowhere')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const abort = new AbortController();
    const aborted = client.acquire(spec.endpointId, abort.signal);
    abort.abort(new PlatformError('DEADLINE_EXCEEDED', 'gone'));
    await expect(aborted).rejects.toThrow();
    await client.acquire(spec.endpointId);
    expect(await reportOf(client, spec)).toMatchObject({ state: 'active' });
    expect(await client.findRoleVerifier(spec.endpointId, 'nobody')).toBeUndefined();
    const { computeId } = await client.acquire(spec.endpointId);
    // Beside the cheapest call there is, made in turns: what remains is the socket, whatever the machine.
    const [acquire, yardstick]: [number[], number[]] = [[], []];
    const timed = async (into: number[], call: () => Promise<unknown>): Promise<void> => {
      const from = performance.now();
      await call();
      into.push(performance.now() - from);
    };
    for (let i = 0; i < 300; i++) {
      await timed(acquire, async () => expect(await client.acquire(spec.endpointId)).toMatchObject({ computeId }));
      await timed(yardstick, async () => await client.acquire('ep-nowhere').catch(() => undefined));
    }
    const median = (times: number[]): number => must(times.sort((x, y) => x - y)[150]);
    expect(median(acquire) / median(yardstick)).toBeLessThan(2);
    expect((await reportOf(client, spec)).runs).toMatchObject([{ computeId, ended: false }]);
    await killChild(child);
    await expect(client.info()).rejects.toMatchObject({ code: 'HOST_UNAVAILABLE' });
    client.close();
  });
});

describe.runIf(isRoot)('without root', () => {
  test('it runs as a bare uid, with computes of the same uid', async () => {
    const directory = mkdtempSync('/tmp/tn-bare-');
    chmodSync(directory, 0o755);
    const script = `
      const t = await import('${join(import.meta.dirname, 'testing/test-host.ts')}');
      const bed = t.makeTestBed({}, '${directory}');
      const host = await t.makeHost(bed);
      const spec = await t.addEndpoint(host, 'bare');
      const client = await t.connectTenant(host, spec);
      await client.query('SELECT 1');
      await client.end();
      console.log(JSON.stringify((await host.info()).isolation));
      await host.stopAll();`;
    makeTestBed({}, directory);
    spawnSync('chown', ['-R', '71999:71999', directory]);
    const { status, stdout, stderr } = spawnSync(
      'setpriv',
      ['--reuid=71999', '--regid=71999', '--clear-groups', process.execPath, '--input-type=module', '-e', script],
      { encoding: 'utf8', timeout: 60_000 },
    );
    expect(stderr.replaceAll(/\(node:.*\n/g, '')).toBe('');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ osUsers: false, cgroups: 'none' });
    expect(readFileSync(join(directory, 'password'), 'utf8')).not.toBe('');
    rmSync(directory, { recursive: true, force: true });
  });
});
