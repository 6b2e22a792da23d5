import { Kysely, PostgresDialect, type PostgresPool } from 'kysely';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { HostInfo } from '../host/host.ts';
import { PlatformError } from '../kernel/errors.ts';
import { createLog } from '../kernel/log.ts';
import { Secret } from '../kernel/secret.ts';
import type { Tables } from '../metadata/tables.ts';
import { checkHealth } from './control-health.ts';
import { ControlMetrics } from './control-metrics.ts';
import { operatorViews } from './control-status.ts';

const KEY = 'the key of the operator';
const INFO = { computesAwake: 3, computesAwakeMax: 9 } as HostInfo;
const COUNTS = { operations: { running: 2 }, endpoints: { active: 1 } };

const never = async <T>(): Promise<T> => await Promise.withResolvers<T>().promise;
const unavailable = async (): Promise<never> =>
  await Promise.reject(new PlatformError('METADATA_UNAVAILABLE', 'Cannot reach the metadata database'));

const directory = { gateways: () => [{ gateway: '0', counters: { sessions_opened: 5, sessions_closed: 1 } }] };

/** A metadata database whose connections come as `connect` says. */
const metadataOver = (connect: () => Promise<never>) =>
  new Kysely<Tables>({
    dialect: new PostgresDialect({ pool: { connect, end: async () => {} } as unknown as PostgresPool }),
  });

const healthy = async () => ({ parts: { host: 'ok', metadata: 'ok' } });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** What `work` gives within the time that one part has; no more time goes by, so that what takes longer never ends. */
async function inPartTime<T>(work: Promise<T>): Promise<T> {
  await vi.advanceTimersByTimeAsync(2_000);
  return await work;
}

test('metrics show the rest when the host is stuck or the metadata is away, and no value of before', async () => {
  const signals: (AbortSignal | undefined)[] = [];
  const sources = {
    host: { info: async (): Promise<HostInfo> => INFO },
    countStatus: async () => COUNTS,
    replicaLags: async (): Promise<Record<string, number>> => ({ 'ep-a': 7 }),
    health: async () => await healthy(),
    directory,
    log: createLog('test', 'silent'),
  };
  const metrics = new ControlMetrics(sources);
  const well = await metrics.text();
  expect(well).toContain('tenantry_part_up{part="host"} 1');
  expect(well).toContain('tenantry_computes_awake 3\n');
  expect(well).toContain('tenantry_replica_lag_bytes{endpoint="ep-a"} 7');

  sources.host.info = async (signal?: AbortSignal) => {
    signals.push(signal);
    return await never();
  };
  sources.health = async () => ({ parts: { host: 'Cannot ask the host', metadata: 'ok' } });
  const noHost = await inPartTime(metrics.text());
  expect(noHost).toContain('tenantry_part_up{part="host"} 0');
  expect(noHost).toContain('tenantry_part_up{part="metadata"} 1');
  expect(noHost).not.toMatch(/^tenantry_computes_awake/m);
  expect(noHost).toContain('tenantry_operations{status="running"} 2');
  expect(noHost).toContain('tenantry_gateway_sessions{gateway="0"} 4');
  expect(signals.map((signal) => signal?.aborted)).toEqual([true]);

  sources.host.info = async () => INFO;
  sources.countStatus = unavailable;
  sources.replicaLags = never;
  const noMetadata = await inPartTime(metrics.text());
  expect(noMetadata).toContain('tenantry_computes_awake 3\n');
  expect(noMetadata).not.toMatch(/^tenantry_(operations|endpoints|replica_lag_bytes)/m);
  expect(noMetadata).toContain('tenantry_gateway_sessions{gateway="0"} 4');
});

test('health, and the status of the platform, come in time and name what does not answer', async () => {
  const host = {
    info: never<HostInfo>,
    storageSpace: never,
    growStorage: never,
    volumeUsage: never,
    volumeHistory: never,
  };
  const status = async (metadata: Kysely<Tables>) =>
    await inPartTime(
      operatorViews({
        metadata,
        host,
        installation: { paths: { processes: '/nowhere/processes.json' } as never },
        adminKey: new Secret(KEY),
        version: '1.2.3',
        metadataPid: () => 42,
        health: async () => await checkHealth({ metadata, host, directory, gateways: 1 }),
      }).status(),
    );
  const stuckHost = 'Cannot ask the host: not done within 2000 ms';
  expect(await status(metadataOver(unavailable))).toEqual({
    version: '1.2.3',
    processes: { metadata: 42 },
    parts: { control: 'ok', metadata: 'Cannot reach the metadata database', host: stuckHost, gateways: 'ok' },
    counts: null,
    awake: null,
    host: null,
    problems: {
      counts: 'Cannot reach the metadata database',
      awake: 'Cannot reach the metadata database',
      host: stuckHost,
    },
  });
  expect(await status(metadataOver(never))).toMatchObject({
    parts: { metadata: 'Cannot ask the metadata database: not done within 2000 ms', host: stuckHost },
    problems: { awake: 'Cannot list the awake endpoints: not done within 2000 ms' },
  });
});

test('the key of the operator is known without the metadata', () => {
  const { isOperatorKey } = operatorViews({ adminKey: new Secret(KEY) } as never);
  expect([KEY, `${KEY} `, '', KEY.toUpperCase()].map(isOperatorKey)).toEqual([true, false, false, false]);
});
