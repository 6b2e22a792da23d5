import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { chown, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import type { Engine } from '../../engines/engine.ts';
import type { BackupSession, Volume } from '../volume-store.ts';

/** A real Postgres on a volume, as a compute would run it, for tests of storage. */
export interface RunningPostgres {
  readonly connect: () => Promise<Client>;
  /** A session of the low-level backup API. */
  readonly openBackup: () => Promise<BackupSession>;
  readonly stop: () => Promise<void>;
  readonly kill: () => Promise<void>;
}

interface StartOptions {
  readonly engine: Engine;
  readonly volume: Volume;
  readonly socketBase: string;
  readonly password: string;
  readonly settings?: readonly string[];
}

const SETTINGS = [
  'listen_addresses=',
  'wal_init_zero=off',
  'wal_recycle=off',
  'wal_keep_size=2GB',
  'min_wal_size=32MB',
  'hot_standby=off',
  'shared_buffers=32MB',
  'restart_after_crash=off',
];

const DEADLINE_MS = 60_000;

/** Starts it, promotes a clone that has not run yet, and resolves once it takes connections. */
export async function startPostgres(options: StartOptions): Promise<RunningPostgres> {
  const { engine, volume, socketBase, password, settings = [] } = options;
  const { dataPath, owner } = volume;
  const socketDir = await mkdtemp(join(socketBase, 's-'));
  if (owner) await chown(socketDir, owner.uid, owner.gid);
  rmSync(join(dataPath, 'postmaster.pid'), { force: true });
  const words = ['-D', dataPath, '-k', socketDir, ...[...SETTINGS, ...settings].flatMap((s) => ['-c', s])];
  const server = spawn(engine.postgresPath, words, {
    cwd: '/',
    env: { ...engine.env },
    stdio: ['ignore', 'ignore', 'pipe'],
    ...owner,
  });
  const output: string[] = [];
  server.stderr?.setEncoding('utf8').on('data', (text: string) => output.push(text));
  const exited = once(server, 'exit');
  await waitReady(server, dataPath, volume, output);
  const connect = async (): Promise<Client> => {
    const client = new Client({ host: socketDir, user: 'cloud_admin', password, database: 'neondb' });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (server.exitCode === null && server.signalCode === null) server.kill(signal);
    await exited;
    // The children of one that was killed go by themselves, soon after.
    while (isInUse(dataPath)) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  return {
    connect,
    openBackup: async () => backupSession(await connect()),
    stop: () => end('SIGINT'),
    kill: () => end('SIGKILL'),
  };
}

async function waitReady(server: ChildProcess, dataPath: string, volume: Volume, output: string[]): Promise<void> {
  const untilMs = performance.now() + DEADLINE_MS;
  for (let looks = 1; ; looks += 1) {
    const status = statusOf(dataPath);
    if (status === 'ready') return;
    // Again and again: the signal is lost on a startup process that has just been forked.
    if (volume.needsPromotion && status !== undefined && looks % 4 === 0) {
      writeFileSync(join(dataPath, 'promote'), '');
      server.kill('SIGUSR1');
    }
    if (server.exitCode !== null || server.signalCode !== null || performance.now() > untilMs) {
      server.kill('SIGKILL');
      throw new Error(`Postgres did not start: ${output.join('')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function isInUse(dataPath: string): boolean {
  return readdirSync('/proc').some((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`) === dataPath;
    } catch {
      return false;
    }
  });
}

function statusOf(dataPath: string): string | undefined {
  const path = join(dataPath, 'postmaster.pid');
  return existsSync(path) ? readFileSync(path, 'latin1').split('\n')[7]?.trim() : undefined;
}

function backupSession(client: Client): BackupSession {
  return {
    async start(label) {
      await client.query('SELECT pg_backup_start($1, true)', [label]);
    },
    async stop() {
      const { rows } = await client.query(`SELECT labelfile, lsn - '0/0'::pg_lsn AS lsn FROM pg_backup_stop(false)`);
      return { label: String(rows[0].labelfile), lsn: BigInt(rows[0].lsn) };
    },
    close: () => client.end(),
  };
}
