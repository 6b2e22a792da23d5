import { spawn } from 'node:child_process';
import { chmod, chown, mkdir, open, stat, truncate } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Client, type ClientConfig } from 'pg';
import type { Engine } from '../engines/engine.ts';
import { readFileIfExists, writeFileAtomic } from '../kernel/atomic-file.ts';
import { codeOf, messageOf, PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Secret } from '../kernel/secret.ts';
import { backoffMs, sleep } from '../kernel/wait.ts';
import { EMBEDDED_HBA, embeddedConfig } from './embedded-config.ts';
import { initializeDataDirectory } from './initialize-data-directory.ts';
import { findPostmaster, isPostmaster, postmasterEnded, removeForeignLock, signalPostmaster } from './postmaster.ts';

export interface EmbeddedPostgresOptions {
  /** Absolute; made if it is not there. `runAs` must be able to walk to it. */
  readonly dataDir: string;
  /** Absolute and short. The socket is in `<runDir>/metadata`. */
  readonly runDir: string;
  readonly engine: Engine;
  /** Its OS user; null if we are not root, then it is ours. */
  readonly runAs: { readonly uid: number; readonly gid: number } | null;
  /** Of the superuser; must not change once the data directory is made. */
  readonly password: Secret;
  /** Called whenever `pid` has changed, after the start. */
  readonly onPidChange?: () => void;
  readonly log: Log;
}

export interface EmbeddedPostgres {
  /** For `openMetadata`. */
  readonly connection: ClientConfig;
  /** Of the running postmaster; undefined while it is being started again. */
  readonly pid: number | undefined;
  /** Fast shutdown. */
  stop(): Promise<void>;
  /** Leaves it running for the next process to adopt. */
  detach(): Promise<void>;
}

const SOCKET_NAME = '.s.PGSQL.5432';
/** Recovery after a crash may take this long; progress is logged meanwhile. */
const READY_TIMEOUT_MS = 300_000;
const READY_POLL_MS = 10;
const PROGRESS_EVERY_MS = 5_000;
const WATCH_EVERY_MS = 500;
const FAST_SHUTDOWN_MS = 20_000;
const IMMEDIATE_SHUTDOWN_MS = 5_000;
const LOG_BYTES_MAX = 5_000_000;
const LEFTOVER_TRIES_MAX = 8;
const RESTART_BACKOFF = { firstMs: 100, maxMs: 10_000 };

/**
 * Runs the metadata database that Tenantry owns. It is a process of its own session: a kill of this process does not
 * end it, and the next call with the same directories adopts it. While this process lives, it is started again
 * whenever it dies.
 * @throws PlatformError METADATA_UNAVAILABLE if it cannot be made or started; the message says why
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  await prepare(options);
  const end = new AbortController();
  let pid: number | undefined = await adoptOrStart(options, end.signal);
  const watched = watch(pid, options, end.signal, (now) => {
    pid = now;
    options.onPidChange?.();
  });
  const detach = async (): Promise<void> => {
    end.abort();
    await watched;
  };
  return {
    connection: connectionOf(options),
    get pid() {
      return pid;
    },
    detach,
    stop: async () => {
      await detach();
      await stopPostmaster(options);
    },
  };
}

function connectionOf({ runDir, password }: EmbeddedPostgresOptions): ClientConfig {
  return { host: join(runDir, 'metadata'), user: 'tenantry', database: 'postgres', password: password.reveal() };
}

/** Data directory, socket directory and settings, all of which may be there already. */
async function prepare(options: EmbeddedPostgresOptions): Promise<void> {
  const { dataDir, runDir, runAs, log } = options;
  await mkdir(dirname(dataDir), { recursive: true });
  if (!(await exists(join(dataDir, 'PG_VERSION')))) {
    log.info({ dataDir }, 'making the metadata database');
    await initializeDataDirectory(options);
  }
  const socketDir = join(runDir, 'metadata');
  await mkdir(socketDir, { recursive: true, mode: 0o700 });
  await chmod(socketDir, 0o700);
  if (runAs) await chown(socketDir, runAs.uid, runAs.gid);
  for (const [name, content] of [
    ['postgresql.conf', embeddedConfig(socketDir)],
    ['pg_hba.conf', EMBEDDED_HBA],
  ] as const) {
    const path = join(dataDir, name);
    if ((await readFileIfExists(path)) === content) continue;
    await writeFileAtomic(path, content);
    if (runAs) await chown(path, runAs.uid, runAs.gid);
  }
}

async function adoptOrStart(options: EmbeddedPostgresOptions, signal: AbortSignal): Promise<number> {
  const { dataDir, runDir, log } = options;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const pid = await findPostmaster(dataDir);
      if (pid === undefined) return await startPostmaster(options, signal);
      if (!(await exists(join(runDir, 'metadata', SOCKET_NAME)))) {
        // Its run directory was removed under it, and it makes the socket only once.
        log.warn({ pid }, 'metadata database has lost its socket, starting it anew');
        await stopPostmaster(options);
        return await startPostmaster(options, signal);
      }
      log.info({ pid }, 'metadata database adopted');
      await waitUntilReady(pid, options, signal);
      return pid;
    } catch (error) {
      // Children of a killed postmaster need a moment to notice.
      const mayPass = /shared memory block|lock file/.test(messageOf(error)) && attempt < LEFTOVER_TRIES_MAX;
      if (!mayPass) throw error;
      await sleep(backoffMs(attempt, RESTART_BACKOFF));
    }
  }
}

/** Starts it and waits until it answers. */
async function startPostmaster(options: EmbeddedPostgresOptions, signal: AbortSignal): Promise<number> {
  const { dataDir, engine, runAs, log } = options;
  const logPath = logPathOf(options);
  await removeForeignLock(dataDir);
  // Postgres writes at the end of the file, so that it may be truncated under it.
  const output = await open(logPath, 'a', 0o600);
  try {
    await output.truncate();
    if (runAs) await output.chown(runAs.uid, runAs.gid);
    const child = spawn(engine.postgresPath, ['-D', dataDir], {
      cwd: dataDir,
      env: engine.env,
      detached: true,
      stdio: ['ignore', output.fd, output.fd],
      ...runAs,
    });
    const { promise: spawned, resolve, reject } = Promise.withResolvers<void>();
    child.once('spawn', resolve);
    child.once('error', reject);
    await spawned;
    child.unref();
    const pid = child.pid ?? 0;
    await waitUntilReady(pid, options, signal);
    log.info({ pid }, 'metadata database started');
    return pid;
  } catch (error) {
    if (error instanceof PlatformError) throw error;
    throw new PlatformError('METADATA_UNAVAILABLE', `Cannot start the metadata database: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    await output.close();
  }
}

async function waitUntilReady(pid: number, options: EmbeddedPostgresOptions, signal: AbortSignal): Promise<void> {
  const { dataDir, log } = options;
  const startedAt = performance.now();
  let saidAt = startedAt;
  for (;;) {
    const failure = await tryToConnect(connectionOf(options));
    if (failure === undefined) return;
    const now = performance.now();
    // 28P01: it runs, but waiting will not make it take this password.
    const isHopeless = codeOf(failure) === '28P01' || now - startedAt > READY_TIMEOUT_MS;
    if (isHopeless || !isPostmaster(pid, dataDir)) {
      const reason = isHopeless ? messageOf(failure) : await lastLogLine(options);
      throw new PlatformError('METADATA_UNAVAILABLE', `Cannot start the metadata database: ${reason}`, {
        cause: failure,
      });
    }
    if (now - saidAt > PROGRESS_EVERY_MS) {
      saidAt = now;
      log.info(
        { pid, waitedMs: Math.round(now - startedAt), reason: messageOf(failure) },
        'metadata database starting',
      );
    }
    await sleep(READY_POLL_MS, signal);
  }
}

async function tryToConnect(connection: ClientConfig): Promise<unknown> {
  const client = new Client({ ...connection, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.end();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Starts it again whenever it has died, until the signal aborts; also keeps its log small. */
async function watch(
  firstPid: number,
  options: EmbeddedPostgresOptions,
  signal: AbortSignal,
  onPid: (pid: number | undefined) => void,
): Promise<void> {
  const { dataDir, log } = options;
  let pid: number | undefined = firstPid;
  let failures = 0;
  while (!signal.aborted) {
    await sleep(pid === undefined ? backoffMs(failures, RESTART_BACKOFF) : WATCH_EVERY_MS, signal).catch(() => {
      // The loop's condition has the answer.
    });
    if (signal.aborted) return;
    try {
      await truncateLog(options);
      if (pid !== undefined && isPostmaster(pid, dataDir)) continue;
      if (pid !== undefined) log.error({ pid, reason: await lastLogLine(options) }, 'metadata database died');
      pid = undefined;
      onPid(pid);
      pid = await adoptOrStart(options, signal);
      onPid(pid);
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      log.error({ err: error }, 'metadata database not started, will retry');
    }
  }
}

async function stopPostmaster({ dataDir, log }: EmbeddedPostgresOptions): Promise<void> {
  const pid = await findPostmaster(dataDir);
  if (pid === undefined) return;
  signalPostmaster(pid, dataDir, 'SIGINT');
  if (await postmasterEnded(pid, dataDir, FAST_SHUTDOWN_MS)) return;
  log.warn({ pid }, 'metadata database does not stop, ending it at once');
  signalPostmaster(pid, dataDir, 'SIGQUIT');
  if (await postmasterEnded(pid, dataDir, IMMEDIATE_SHUTDOWN_MS)) return;
  log.error({ pid }, 'metadata database still runs');
}

function logPathOf({ dataDir }: EmbeddedPostgresOptions): string {
  return join(dataDir, 'tenantry-postgres.log');
}

async function truncateLog(options: EmbeddedPostgresOptions): Promise<void> {
  const { size } = await stat(logPathOf(options));
  if (size > LOG_BYTES_MAX) await truncate(logPathOf(options));
}

async function lastLogLine(options: EmbeddedPostgresOptions): Promise<string> {
  const text = (await readFileIfExists(logPathOf(options))) ?? '';
  return (
    text
      .trim()
      .split('\n')
      .findLast((line) => /FATAL|PANIC|ERROR/.test(line)) ?? 'it ended without a word'
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}
