import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { appendFile, chmod, chown, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import type { Engine } from '../../engines/engine.ts';
import { SystemEngines } from '../../engines/system-engine.ts';
import { sleep } from '../../kernel/wait.ts';
import { TEST_OWNER, testEngine } from '../../metadata/testing/test-engine.ts';

const run = promisify(execFile);
const PORT = 5432;

/** As computes have them. */
const SETTINGS = `
listen_addresses = ''
port = ${PORT}
wal_recycle = off
wal_init_zero = off
wal_keep_size = 2GB
shared_buffers = 16MB
max_prepared_transactions = 5
track_commit_timestamp = on
`;

/** Postgres 17 from npm, and what the machine has. */
export async function engines(): Promise<readonly Engine[]> {
  const installed = new SystemEngines();
  const system = await Promise.all([14, 15, 16, 18].map((version) => installed.find(version)));
  return [await testEngine(), ...system.filter((engine) => engine !== undefined)];
}

/** A data directory in a temporary directory, and the Postgres on it, for tests. */
export class TestCluster implements AsyncDisposable {
  readonly directory: string;
  readonly #engine: Engine;
  #process: ChildProcess | undefined;

  private constructor(directory: string, engine: Engine) {
    this.directory = directory;
    this.#engine = engine;
  }

  static async create(engine: Engine): Promise<TestCluster> {
    const cluster = await TestCluster.#empty(engine);
    const args = ['-D', cluster.dataPath, '-U', 'cloud_admin', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
    await run(engine.initdbPath, args, { ...TEST_OWNER, env: engine.env, cwd: cluster.directory });
    await appendFile(join(cluster.dataPath, 'postgresql.conf'), SETTINGS);
    return cluster;
  }

  static async #empty(engine: Engine): Promise<TestCluster> {
    const directory = await mkdtemp('/tmp/tenantry-wal-');
    await chmod(directory, 0o755);
    if (TEST_OWNER) await chown(directory, TEST_OWNER.uid, TEST_OWNER.gid);
    return new TestCluster(directory, engine);
  }

  get dataPath(): string {
    return join(this.directory, 'data');
  }
  get #logPath(): string {
    return join(this.directory, 'log');
  }
  get walPath(): string {
    return join(this.dataPath, 'pg_wal');
  }

  /** Its files as they are, without WAL. It must not run. */
  async clone(): Promise<TestCluster> {
    const clone = await TestCluster.#empty(this.#engine);
    await cp(this.dataPath, clone.dataPath, {
      recursive: true,
      filter: (path) => !/\/pg_wal\/|\/postmaster\.(pid|opts)$/.test(path),
    });
    await mkdir(join(clone.walPath, 'archive_status'), { recursive: true });
    await clone.takeOwnership();
    return clone;
  }

  async takeOwnership(): Promise<void> {
    await chmod(this.dataPath, 0o700);
    if (TEST_OWNER) await run('chown', ['-R', `${TEST_OWNER.uid}:${TEST_OWNER.gid}`, this.dataPath]);
  }

  async start(): Promise<void> {
    this.#spawn();
    await this.#waitForStatus('ready');
  }

  /** Starts on a clone that holds `standby.signal`: replays all WAL that is there, and promotes. */
  async startAndPromote(): Promise<void> {
    await writeFile(join(this.dataPath, 'standby.signal'), '');
    await appendFile(join(this.dataPath, 'postgresql.conf'), 'hot_standby = off\n');
    await this.takeOwnership();
    const postmaster = this.#spawn();
    // The second where the first has already passed.
    await this.#waitForStatus('starting', 'standby');
    await writeFile(join(this.dataPath, 'promote'), '');
    postmaster.kill('SIGUSR1');
    await this.#waitForStatus('ready');
  }

  /** `SIGQUIT` ends it as a crash would. */
  async stop(signal: 'SIGINT' | 'SIGQUIT' = 'SIGINT'): Promise<void> {
    const postmaster = this.#process;
    if (!postmaster) return;
    this.#process = undefined;
    if (postmaster.exitCode !== null || postmaster.signalCode !== null) return;
    const ended = once(postmaster, 'exit');
    postmaster.kill(signal);
    await ended;
  }

  async connect(): Promise<Client> {
    const client = new Client({ host: this.directory, port: PORT, user: 'cloud_admin', database: 'postgres' });
    await client.connect();
    return client;
  }

  async query<Row>(sql: string): Promise<Row[]> {
    const client = await this.connect();
    try {
      return (await client.query(sql)).rows as Row[];
    } finally {
      await client.end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGQUIT');
    await rm(this.directory, { recursive: true, force: true });
  }

  #spawn(): ChildProcess {
    const args = ['-D', this.dataPath, '-c', `unix_socket_directories=${this.directory}`];
    const log = openSync(this.#logPath, 'a');
    const options = { ...TEST_OWNER, env: this.#engine.env, cwd: this.directory };
    this.#process = spawn(this.#engine.postgresPath, args, { ...options, stdio: ['ignore', log, log] });
    closeSync(log);
    return this.#process;
  }

  /** Line 8 of postmaster.pid. */
  async #waitForStatus(...wanted: readonly string[]): Promise<void> {
    for (const deadline = Date.now() + 60_000; ; await sleep(2)) {
      const text = await readFile(join(this.dataPath, 'postmaster.pid'), 'utf8').catch(() => '');
      if (wanted.includes(text.split('\n')[7]?.trim() ?? '')) return;
      if (this.#process?.exitCode !== null || Date.now() > deadline) {
        throw new Error(`Postgres is not ${wanted.join()}: ${await readFile(this.#logPath, 'utf8')}`);
      }
    }
  }
}
