import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { finishFirstStart, prepareFirstStart } from '../compute/first-start.ts';
import { removeLog } from '../compute/postgres-log.ts';
import { spawnPostgres } from '../compute/postgres-process.ts';
import { makeRunDirectory } from '../compute/run-directory.ts';
import { configSettings, renderConfigFile } from '../compute/settings.ts';
import { messageOf, PlatformError } from '../kernel/errors.ts';
import type { Volume } from '../storage/volume-store.ts';
import type { EndpointDeps } from './endpoint.ts';
import { shortOf } from './run-records.ts';
import type { PrivatePostgres } from './schema-copy.ts';

export type PrivateComputeDeps = Pick<
  EndpointDeps,
  'engines' | 'volumes' | 'records' | 'cgroups' | 'computeAdminPassword' | 'computeLogsDir' | 'log'
> & {
  /** @throws PlatformError SHUTTING_DOWN once the host stops: what is spawned then is never ended */
  readonly assertServing: () => void;
};

export interface PrivateComputeOptions {
  readonly volumeId: string;
  /** The volume is deleted afterwards: nothing that is written need be on the disk. */
  readonly isThrownAway: boolean;
}

const START_MS = 600_000;
const SIZE = { minCu: 1, maxCu: 1 } as const;

/** Nobody subscribes to anything from here: the slots of a clone's subscriptions are its source's. */
const OVERRIDES = { max_logical_replication_workers: '0', autovacuum: 'off' };
const THROWN_AWAY = { fsync: 'off', full_page_writes: 'off' };

/**
 * Runs Postgres on a volume for as long as `work` takes. It belongs to no endpoint: no client finds it, and it counts as
 * nobody's usage. It has the user, the settings and the limits of an ordinary compute, and a run directory without a
 * record, so that the next host process stops it as a stray.
 * @throws PlatformError NOT_FOUND, COMPUTE_START_FAILED, SHUTTING_DOWN; what `work` throws
 */
export async function withPrivateCompute<T>(
  deps: PrivateComputeDeps,
  { volumeId, isThrownAway }: PrivateComputeOptions,
  work: (postgres: PrivatePostgres) => Promise<T>,
): Promise<T> {
  const volume = await deps.volumes.claim(volumeId);
  if (!volume) throw new PlatformError('NOT_FOUND', 'Cannot start a compute: its volume does not exist');
  const computeId = deps.records.newComputeId();
  try {
    return await run(deps, { volume, computeId, isThrownAway }, work);
  } finally {
    deps.volumes.released(volumeId);
    await deps.cgroups?.remove(shortOf(computeId)).catch((error: unknown) => {
      deps.log.warn({ computeId, error: messageOf(error) }, 'cgroup not removed');
    });
    await deps.records.remove(computeId);
  }
}

async function run<T>(
  deps: PrivateComputeDeps,
  { volume, computeId, isThrownAway }: { volume: Volume; computeId: string; isThrownAway: boolean },
  work: (postgres: PrivatePostgres) => Promise<T>,
): Promise<T> {
  const { engines, records, computeLogsDir, computeAdminPassword: password, log } = deps;
  const { pgVersion, owner } = volume;
  const engine = await engines.get(pgVersion);
  const directory = records.directoryOf(computeId);
  const settings = configSettings({ ...SIZE, pgVersion, pgSettings: {}, ...directory });
  makeRunDirectory(directory, renderConfigFile(settings), owner);
  const logPath = join(computeLogsDir, `${computeId}.log`);
  mkdirSync(computeLogsDir, { recursive: true, mode: 0o700 });
  const first = await prepareFirstStart(volume);
  deps.assertServing();
  const process = await spawnPostgres({
    engine,
    volume,
    runDirectory: directory,
    logPath,
    overrides: { ...OVERRIDES, ...(isThrownAway ? THROWN_AWAY : {}) },
    promotes: first?.promotes === true,
    onSpawn: (pid) => {
      try {
        deps.cgroups?.place(shortOf(computeId), { ...SIZE, isStarting: true }, [pid]);
      } catch (error) {
        log.warn({ computeId, error: messageOf(error) }, 'compute runs without cgroup');
      }
    },
  });
  try {
    await process.waitReady(START_MS);
    if (first) finishFirstStart(volume);
    return await work({ pgVersion, directory, owner, password });
  } finally {
    await process.stop();
    await process.ended;
    removeLog(logPath);
  }
}
