import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { findProcessesByCommand } from '../compute/process-table.ts';
import { PlatformError } from '../kernel/errors.ts';
import type { EndpointSpec } from './host.ts';
import type { LocalHost } from './local-host.ts';
import { withPrivateCompute, type PrivateComputeDeps } from './schema-compute.ts';
import { RunRecords } from './run-records.ts';
import { addEndpoint, makeHost, makeTestBed, waitFor, type TestBed } from './testing/test-host.ts';

/** An orderly stop of the host ends everything that it has running, within its budget, whatever does not want to end. */
const BUDGET = { hardenAfterMs: 1_000, killAfterMs: 2_000, giveUpAfterMs: 20_000 };

let bed: TestBed;
let host: LocalHost;

beforeAll(() => {
  bed = makeTestBed();
});
beforeEach(async () => {
  host = await makeHost(bed);
});
afterEach(() => {
  for (const { identity } of findProcessesByCommand(bed.directory)) process.kill(identity.pid, 'SIGKILL');
});
afterAll(() => bed.dispose());

const running = () => findProcessesByCommand(bed.directory);

function postmasterOf(spec: EndpointSpec): number {
  return Number(readFileSync(join(bed.directory, 'volumes', spec.volumeId, 'postmaster.pid'), 'utf8').split('\n')[0]);
}

test('computes that hang are killed at the end of the budget, and those whose turn they held up have not crashed', async () => {
  const specs: EndpointSpec[] = [];
  for (let index = 0; index < 10; index++) {
    // One that never sleeps would be started again after a crash.
    const spec = await addEndpoint(host, `hang-${index}`, { suspendTimeoutSeconds: -1 });
    await host.acquire(spec.endpointId);
    specs.push(spec);
  }
  // Eight are stopped at a time, the last loaded first.
  for (const spec of specs.slice(2)) process.kill(postmasterOf(spec), 'SIGSTOP');
  const begunAt = performance.now();
  await host.stopAll(BUDGET);
  expect(running()).toEqual([]);
  const tookMs = performance.now() - begunAt;
  expect(tookMs).toBeGreaterThan(BUDGET.killAfterMs - 100);
  expect(tookMs).toBeLessThan(BUDGET.giveUpAfterMs);
  await new Promise((done) => setTimeout(done, 300));
  expect(running()).toEqual([]);
});

test('an endpoint that comes from the disk while the host stops is not started', async () => {
  const spec = await addEndpoint(host, 'late');
  const acquired = host.acquire(spec.endpointId).then(
    () => 'started',
    (error: { code?: string }) => error.code,
  );
  await host.stopAll(BUDGET);
  expect(await acquired).toBe('SHUTTING_DOWN');
  expect(running()).toEqual([]);
});

test('what serves a piece of work is ended too', async () => {
  const spec = await addEndpoint(host, 'private');
  const isBegun = Promise.withResolvers<void>();
  const work = withPrivateCompute(
    privateDeps(() => {}),
    { volumeId: spec.volumeId, isThrownAway: true },
    async () => {
      isBegun.resolve();
      await waitFor('the end of the compute', 20_000, () => running().length === 0);
    },
  );
  await isBegun.promise;
  expect(running()).toHaveLength(1);
  await host.stopAll(BUDGET);
  expect(running()).toEqual([]);
  await work;
});

test('what serves a piece of work is not spawned any more once the host stops', async () => {
  const spec = await addEndpoint(host, 'too-late');
  const deps = privateDeps(() => {
    throw new PlatformError('SHUTTING_DOWN', 'The host is stopping');
  });
  const work = withPrivateCompute(deps, { volumeId: spec.volumeId, isThrownAway: true }, async () => {});
  await expect(work).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
  expect(running()).toEqual([]);
});

function privateDeps(assertServing: () => void): PrivateComputeDeps {
  const { options, directory } = bed;
  const records = new RunRecords(options.runDir);
  return { ...options, records, cgroups: undefined, computeLogsDir: join(directory, 'logs'), assertServing };
}

test('a stop that leaves something behind says so', async () => {
  const spec = await addEndpoint(host, 'slow');
  await host.acquire(spec.endpointId);
  process.kill(postmasterOf(spec), 'SIGSTOP');
  const budget = { hardenAfterMs: 100, killAfterMs: 200, giveUpAfterMs: 201 };
  await expect(host.stopAll(budget)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
});
