import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from '../engines/engine.ts';
import { PlatformError } from '../kernel/errors.ts';
import { beOrdinary } from '../kernel/priority.ts';
import { endsWithin, sleep } from '../kernel/wait.ts';
import type { Volume } from '../storage/volume-store.ts';
import { putPromoteFile } from './first-start.ts';
import { failureFromLog, logSize } from './postgres-log.ts';
import { findProcess, findProcessesIn, isAlive, signalProcess, type ProcessIdentity } from './process-table.ts';
import type { ProcessWatcher } from './process-watcher.ts';
import type { RunDirectory } from './run-directory.ts';

export interface SpawnOptions {
  readonly engine: Engine;
  readonly volume: Volume;
  readonly runDirectory: RunDirectory;
  readonly logPath: string;
  /** Settings of this life only, over those of the configuration file. */
  readonly overrides: Readonly<Record<string, string>>;
  /** It starts in recovery and is to be promoted once its WAL is replayed. */
  readonly promotes: boolean;
  /** Called at once with the pid, before Postgres forks: the place to put it into a cgroup. */
  readonly onSpawn: (pid: number) => void;
}

/** Of a volume, what its process is watched and promoted by. */
type DataDirectory = Pick<Volume, 'dataPath' | 'owner' | 'needsPromotion'>;

export interface AdoptOptions {
  readonly identity: ProcessIdentity;
  readonly volume: DataDirectory;
  readonly logPath: string;
  readonly watcher: ProcessWatcher;
}

/** How the process ended; both null if nobody could see it (adopted). */
export interface ProcessEnd {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** The kernel's choice when memory runs out: any tenant before any part of the platform. */
const OOM_SCORE_ADJUST = '600';

/** Fast shutdown writes a checkpoint; after this the compute is ended hard and recovers at its next start. */
const FAST_STOP_MS = 60_000;
const IMMEDIATE_STOP_MS = 5000;
const LEFTOVERS_MS = 2000;
/**
 * No sessions during recovery: then it needs no room for as many as the source had, and is `ready` only when it has been
 * promoted. A postmaster setting, without a meaning for the rest of the life.
 */
const PROMOTION_OVERRIDES = { hot_standby: 'off' };

/** No Postgres is ready sooner; measured 14 ms. */
const FIRST_LOOK_MS = 8;

/**
 * One running Postgres. Made by `spawnPostgres` as our child, or by `adoptPostgres` for one that an earlier host
 * process started; both live on when this process ends.
 */
export interface PostgresProcess {
  readonly identity: ProcessIdentity;
  /** Resolves once the postmaster and all its children are gone: only then may another use the volume. */
  readonly ended: Promise<ProcessEnd>;
  /**
   * Resolves once it accepts connections.
   * @throws PlatformError COMPUTE_START_FAILED (with the reason from the log) if it ends or takes longer than `ms`
   */
  waitReady(ms: number): Promise<void>;
  /** Makes it read its configuration again. */
  reload(): void;
  isAlive(): boolean;
  /** Fast shutdown, or with `skipsCheckpoint` the immediate one, then harder; resolves when `ended` does. */
  stop(options?: { readonly skipsCheckpoint?: boolean }): Promise<void>;
}

/** Of an end that nobody ordered. */
export function unexpectedEnd({ signal, exitCode }: ProcessEnd): PlatformError {
  const how = signal
    ? `killed by ${signal}`
    : exitCode === null
      ? 'while the host was not looking'
      : `exit ${exitCode}`;
  return new PlatformError('COMPUTE_START_FAILED', `Postgres ended unexpectedly (${how})`);
}

/**
 * Starts Postgres in a session of its own. As root it runs as the volume's owner, without other groups.
 * @throws PlatformError COMPUTE_START_FAILED if the program cannot be run
 */
export async function spawnPostgres(options: SpawnOptions): Promise<PostgresProcess> {
  const { engine, volume, runDirectory, logPath, overrides, promotes, onSpawn } = options;
  const settings = { config_file: runDirectory.configPath, ...overrides, ...(promotes ? PROMOTION_OVERRIDES : {}) };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  await clearStaleLock(volume.dataPath);
  const logStart = logSize(logPath);
  const log = openSync(logPath, 'a', 0o600);
  try {
    const child = spawn(engine.postgresPath, ['-D', volume.dataPath, ...args], {
      cwd: '/',
      detached: true,
      env: { ...engine.env },
      stdio: ['ignore', log, log],
      ...(volume.owner ? { uid: volume.owner.uid, gid: volume.owner.gid } : {}),
    });
    const exited = Promise.withResolvers<ProcessEnd>();
    child.once('exit', (exitCode, signal) => exited.resolve({ exitCode, signal }));
    child.once('error', () => exited.resolve({ exitCode: null, signal: null }));
    child.unref();
    const identity = child.pid === undefined ? undefined : findProcess(child.pid);
    if (!identity) throw new PlatformError('COMPUTE_START_FAILED', 'Cannot start the compute: Postgres cannot be run');
    beOrdinary(identity.pid);
    onSpawn(identity.pid);
    preferAsOomVictim(identity.pid);
    return makeProcess({ identity, volume, promotes, logPath, logStart, exited: exited.promise });
  } finally {
    closeSync(log);
  }
}

/** Takes over a postmaster that is not our child. The caller has proved that it is the one of this volume. */
export function adoptPostgres({ identity, volume, logPath, watcher }: AdoptOptions): PostgresProcess {
  const exited = watcher.watch(identity).then(() => ({ exitCode: null, signal: null }));
  const promotes = volume.needsPromotion;
  return makeProcess({ identity, volume, promotes, logPath, logStart: logSize(logPath), exited });
}

interface ProcessParts {
  readonly identity: ProcessIdentity;
  readonly volume: DataDirectory;
  readonly promotes: boolean;
  readonly logPath: string;
  readonly logStart: number;
  readonly exited: Promise<ProcessEnd>;
}

function makeProcess({ identity, volume, promotes, logPath, logStart, exited }: ProcessParts): PostgresProcess {
  let hasEnded = false;
  const ended = exited.then(async (end) => {
    hasEnded = true;
    // A clean stop removes the lock file after the last child has ended. Where it is left, children may be too. A lock
    // of another postmaster is the next life's, begun by a host that took over: its processes are not ours to end.
    if (pidInLock(volume.dataPath) === identity.pid) await endLeftovers(volume.dataPath);
    return end;
  });
  return {
    identity,
    ended,
    reload: () => void signalProcess(identity, 'SIGHUP'),
    isAlive: () => !hasEnded && isAlive(identity),
    async waitReady(ms) {
      const deadlineAt = performance.now() + ms;
      let isPromotionDue = promotes;
      await sleep(FIRST_LOOK_MS);
      for (let looks = 0; ; looks++) {
        if (hasEnded) throw new PlatformError('COMPUTE_START_FAILED', failureFromLog(logPath, logStart));
        const status = readStatus(volume.dataPath, identity.pid);
        if (status === 'ready') return;
        if (isPromotionDue && status !== undefined) {
          isPromotionDue = false;
          promote(volume, identity);
        }
        if (performance.now() > deadlineAt) {
          throw new PlatformError('COMPUTE_START_FAILED', `Cannot start the compute: not ready within ${ms} ms`);
        }
        await sleep(looks < 500 ? 1 : 20);
      }
    },
    async stop({ skipsCheckpoint = false } = {}) {
      const signals = [
        ['SIGINT', FAST_STOP_MS],
        ['SIGQUIT', IMMEDIATE_STOP_MS],
      ] as const;
      for (const [signal, ms] of signals.slice(skipsCheckpoint ? 1 : 0)) {
        signalProcess(identity, signal);
        if (await endsWithin(ended, ms)) return;
      }
      signalProcess(identity, 'SIGKILL');
      await ended;
    },
  };
}

/**
 * Has it end recovery once it has replayed all WAL there is. The postmaster passes the word on as soon as it has a startup
 * process, which is there from the first status on; one that has it already, or is beyond it, takes no harm.
 */
function promote(volume: DataDirectory, identity: ProcessIdentity): void {
  putPromoteFile(volume);
  signalProcess(identity, 'SIGUSR1');
}

/**
 * Line 8 of postmaster.pid: `starting`, `stopping`, `ready` or `standby`. Undefined if the file is another process's, and
 * while it has fewer lines: what is asked of the postmaster then is lost.
 */
export function readStatus(dataPath: string, pid: number): string | undefined {
  const lines = readLock(dataPath);
  const status = lines?.[7]?.trim() ?? '';
  return Number(lines?.[0]) === pid && status !== '' ? status : undefined;
}

/** The postmaster that the lock file names; NaN where it names none, undefined where there is no lock. */
function pidInLock(dataPath: string): number | undefined {
  const lines = readLock(dataPath);
  return lines && Number(lines[0]);
}

function readLock(dataPath: string): readonly string[] | undefined {
  try {
    return readFileSync(join(dataPath, 'postmaster.pid'), 'latin1').split('\n');
  } catch {
    return undefined;
  }
}

/**
 * Ends what a postmaster that is gone left running on a data directory: its children notice its death by themselves,
 * mostly at once; the rest is killed. Only a postmaster makes more of them, so those that are there now are all.
 */
async function endLeftovers(dataPath: string): Promise<void> {
  const leftovers = findProcessesIn(realpathSync(dataPath));
  const killAt = performance.now() + LEFTOVERS_MS / 4;
  const giveUpAt = performance.now() + LEFTOVERS_MS;
  for (;;) {
    const left = leftovers.filter(isAlive);
    if (left.length === 0) return;
    if (performance.now() > giveUpAt) {
      throw new PlatformError('COMPUTE_START_FAILED', 'Cannot start the compute: an earlier one does not end');
    }
    if (performance.now() > killAt) for (const identity of left) signalProcess(identity, 'SIGKILL');
    await sleep(10);
  }
}

/**
 * A lock file before a start is the sign of an unclean end, so the usual case is one failed open. What that end left is
 * seen out first. Postgres would clear the lock too, but not if its pid belongs to another process by now: that may be
 * any tenant's.
 */
async function clearStaleLock(dataPath: string): Promise<void> {
  if (pidInLock(dataPath) === undefined) return;
  await endLeftovers(dataPath);
  rmSync(join(dataPath, 'postmaster.pid'), { force: true });
}

function preferAsOomVictim(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, OOM_SCORE_ADJUST);
  } catch {
    // Not Linux, or already gone: then it does not matter.
  }
}
