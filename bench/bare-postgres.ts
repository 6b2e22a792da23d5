import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { must } from '../tests/support/must.ts';
import { runOk } from '../tests/support/run.ts';

/** `nobody`: Postgres refuses to run as root, and initdb to run as a user without a name. */
const UID = 65_534;

export interface BareOptions {
  readonly initdbArgs?: readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
}

/** The yardstick: the same Postgres binaries, run by hand, by default with the settings that `initdb` gives everybody. */
export class BarePostgres implements Disposable {
  readonly #bin: string;
  readonly #env: Record<string, string>;
  readonly #root = mkdtempSync('/tmp/tenantry-yardstick-');
  readonly #ready: string;
  readonly #initdbArgs: readonly string[];
  readonly #postgresArgs: readonly string[];
  #running: ChildProcess | undefined;
  #client: Client | undefined;
  #clusters = 0;

  /** @param pid a running compute, whose binaries are taken */
  constructor(pid: number, { initdbArgs = [], settings = {} }: BareOptions = {}) {
    this.#initdbArgs = initdbArgs;
    this.#postgresArgs = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    this.#bin = dirname(readlinkSync(`/proc/${pid}/exe`));
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    const libraryPath = environment.find((line) => line.startsWith('LD_LIBRARY_PATH='));
    this.#env = libraryPath ? { LD_LIBRARY_PATH: libraryPath.slice('LD_LIBRARY_PATH='.length) } : {};
    chownSync(this.#root, UID, UID);
    this.#ready = join(this.#root, 'ready');
  }

  /** Its postmaster, while it runs. */
  get pid(): number {
    return must(this.#running?.pid, 'a running yardstick');
  }

  /** A connection string, while it runs. */
  get uri(): string {
    return `postgresql:///postgres?host=${encodeURIComponent(this.#root)}&user=postgres`;
  }

  /** A data directory that was started and cleanly stopped once. */
  async prepare(): Promise<void> {
    await this.#initdb(this.#ready);
    await this.startToFirstRow();
    await this.stop();
  }

  async initdbToFirstRow(): Promise<void> {
    const dataDir = join(this.#root, `new-${this.#clusters++}`);
    await this.#initdb(dataDir);
    await this.#start(dataDir);
  }

  async startToFirstRow(): Promise<void> {
    await this.#start(this.#ready);
  }

  /** Stops what runs, in the fast mode; drops clusters made by the way. */
  async stop(): Promise<void> {
    const child = this.#running;
    if (!child) return;
    await this.#client?.end();
    const exited = once(child, 'exit');
    child.kill('SIGINT');
    await exited;
    this.#running = undefined;
    for (let i = 0; i < this.#clusters; i++) rmSync(join(this.#root, `new-${i}`), { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    this.#running?.kill('SIGQUIT');
    rmSync(this.#root, { recursive: true, force: true, maxRetries: 10 });
  }

  async #initdb(dataDir: string): Promise<void> {
    await runOk(join(this.#bin, 'initdb'), ['-D', dataDir, '-U', 'postgres', ...this.#initdbArgs], {
      uid: UID,
      env: this.#env,
    });
  }

  async #start(dataDir: string): Promise<void> {
    const child = spawn(
      join(this.#bin, 'postgres'),
      ['-D', dataDir, '-k', this.#root, '-h', '', ...this.#postgresArgs],
      {
        uid: UID,
        gid: UID,
        stdio: 'ignore',
        env: this.#env,
      },
    );
    this.#running = child;
    for (const deadline = Date.now() + 30_000; Date.now() < deadline; await delay(1)) {
      if (child.exitCode !== null) throw new Error(`The yardstick's postgres ended with ${child.exitCode}`);
      const client = new Client({ host: this.#root, user: 'postgres', database: 'postgres' });
      client.on('error', () => {});
      try {
        await client.connect();
      } catch {
        continue; // not there yet, or "the database system is starting up"
      }
      await client.query('SELECT 1');
      this.#client = client;
      return;
    }
    throw new Error('The yardstick did not start within 30 s');
  }
}
