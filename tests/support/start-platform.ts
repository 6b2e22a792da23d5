import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Api } from './api.ts';
import { must } from './must.ts';
import { isAlive, listOsProcesses, readOsProcess, withDescendants, type OsProcess } from './os-processes.ts';
import { run } from './run.ts';
import { waitUntil } from './wait-until.ts';

const REPOSITORY = resolve(import.meta.dirname, '../..');

export interface PlatformOptions {
  readonly storage?: 'auto' | 'btrfs' | 'reflink' | 'copy';
  /** Default: a directory of its own below /tmp, removed at the end. One that is given is left. */
  readonly dataDir?: string;
  /** Mode of the directory above the data directory: 0711, or 0700 as a root's home has it. */
  readonly parentMode?: number;
  readonly gatewayWorkers?: number;
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Run it all as this bare OS user. */
  readonly uid?: number;
  readonly readyTimeoutMs?: number;
}

interface ReadyLine {
  readonly ready: true;
  readonly api_url: string;
  readonly admin_key: string;
  readonly pg_port: number;
  readonly https_port: number;
  readonly ca_cert: string;
}

/** `<dataDir>/processes.json` */
export interface ProcessIds {
  readonly supervisor: number;
  readonly control: number;
  readonly host: number;
  readonly gateways: readonly number[];
  readonly metadata: number | null;
}

export type PartName = 'supervisor' | 'control' | 'host' | 'gateway' | 'metadata';

/** The Postgres of an awake endpoint, as the operating system shows it. */
export interface ComputeProcess extends OsProcess {
  readonly dataPath: string;
}

/** Boots a platform through `./start --json`, as an operator does. Dispose of it to stop it and check what it left. */
export async function startPlatform(options: PlatformOptions = {}): Promise<RunningPlatform> {
  const platform = new RunningPlatform(options);
  try {
    await platform.start();
  } catch (error) {
    await platform.discard();
    throw error;
  }
  return platform;
}

/** A platform under test: its addresses, its processes, and levers to hurt it. */
export class RunningPlatform implements AsyncDisposable {
  readonly dataDir: string;
  /** Standard error of every start of this platform, in one file. */
  readonly stderrPath: string;
  readonly #options: PlatformOptions;
  readonly #root: string;
  #child: ChildProcess | undefined;
  #ready: ReadyLine | undefined;

  constructor(options: PlatformOptions) {
    this.#options = options;
    this.#root = mkdtempSync('/tmp/tenantry-test-');
    chmodSync(this.#root, options.parentMode ?? 0o711);
    if (options.uid !== undefined) chownSync(this.#root, options.uid, options.uid);
    this.stderrPath = join(this.#root, 'stderr.log');
    this.dataDir = options.dataDir ?? join(this.#root, 'data');
  }

  get ready(): ReadyLine {
    return must(this.#ready, 'a started platform');
  }
  get api(): Api {
    return new Api(this.ready.api_url, this.ready.admin_key);
  }
  get origin(): string {
    return new URL(this.ready.api_url).origin;
  }
  get pgPort(): number {
    return this.ready.pg_port;
  }
  get caCert(): string {
    return this.ready.ca_cert;
  }
  /** Where sockets are; named after the data directory. */
  get runDir(): string {
    const hash = createHash('sha256').update(realpathSync(this.dataDir)).digest('hex').slice(0, 8);
    const uid = this.#options.uid ?? process.getuid?.() ?? 0;
    return uid === 0 ? `/run/tenantry/${hash}` : `/tmp/tenantry-${uid}-${hash}`;
  }

  /** Starts it on its data directory; from the second time on, at the ports it had. */
  async start(): Promise<void> {
    const { uid, storage, gatewayWorkers = 1, flags = [], env = {}, readyTimeoutMs = 120_000 } = this.#options;
    mkdirSync(this.#root, { recursive: true });
    const stderr = openSync(this.stderrPath, 'a', 0o600);
    const args = ['--json', '--data-dir', this.dataDir, '--min-suspend-seconds', '1'];
    args.push('--api-port', this.#ready ? new URL(this.#ready.api_url).port : '0');
    args.push('--pg-port', String(this.#ready?.pg_port ?? 0), '--https-port', String(this.#ready?.https_port ?? 0));
    args.push('--gateway-workers', String(gatewayWorkers), '--storage', storage ?? 'auto', ...flags);
    const child = spawn('./start', args, {
      cwd: REPOSITORY,
      detached: true,
      stdio: ['ignore', 'pipe', stderr],
      env: { ...process.env, ...env, ...(uid === undefined ? {} : { HOME: this.#root }) },
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    closeSync(stderr);
    this.#child = child;
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => {});
    child.on('error', failed.reject);
    child.on('exit', (code, signal) =>
      failed.reject(new Error(`./start ended with ${code ?? signal} before it was ready`)),
    );
    const timer = setTimeout(
      () => failed.reject(new Error(`./start not ready after ${readyTimeoutMs} ms`)),
      readyTimeoutMs,
    );
    try {
      this.#ready = await Promise.race([readyLine(child), failed.promise]);
    } catch (error) {
      throw new Error(`${String(error)}\n${this.stderrTail()}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Stops it as a service manager does (SIGTERM to `./start`) or as Ctrl-C does (SIGINT to the whole process group). Then
   * everything must be gone: processes, mounts, sockets.
   * @throws Error that names what is left
   */
  async stop(way: 'service manager' | 'Ctrl-C' = 'service manager', timeoutMs = 60_000): Promise<void> {
    const child = this.#child;
    if (!child) return;
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit', { signal: AbortSignal.timeout(timeoutMs) });
      if (way === 'Ctrl-C') process.kill(-must(child.pid), 'SIGINT');
      else child.kill('SIGTERM');
      await exited.catch(() => {
        throw new Error(`./start did not end within ${timeoutMs} ms\n${this.stderrTail()}`);
      });
      if (child.exitCode !== 0)
        throw new Error(`./start ended with ${child.exitCode ?? child.signalCode}\n${this.stderrTail()}`);
    }
    this.#child = undefined;
    await waitUntil(
      'nothing left of a stopped platform',
      () => {
        const left = this.leftovers();
        if (left.length > 0) throw new Error(left.join('; '));
        return true;
      },
      2_000,
    );
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** What a stopped platform must not leave, in words. */
  leftovers(): string[] {
    const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
    return [
      ...this.processes().map((p) => `process ${p.pid} (uid ${p.uid}): ${p.argv.join(' ').slice(0, 200)}`),
      ...mounts
        .filter((line) => line.includes(this.dataDir) || line.includes(this.runDir))
        .map((line) => `mount ${line}`),
      ...(existsSync(this.runDir) ? [`run directory ${this.runDir}`] : []),
    ];
  }

  /** Every process of this installation: by its OS users, its paths, and what descends from those. */
  processes(): OsProcess[] {
    const all = listOsProcesses();
    const uids = this.#uids();
    const isOurs = (p: OsProcess): boolean =>
      p.pid !== process.pid &&
      ((p.uid >= uids.first && p.uid <= uids.last) ||
        p.argv.some((arg) => arg.includes(this.dataDir) || arg.includes(this.runDir)));
    const roots = all.filter(isOurs).map((p) => p.pid);
    const recorded = this.#recordedIds().filter((pid) => all.some((p) => p.pid === pid && isTenantryProcess(p)));
    return withDescendants([...roots, ...recorded], all);
  }

  /** The awake computes; the metadata Postgres is none. */
  computes(): ComputeProcess[] {
    const metadata = join(this.dataDir, 'metadata');
    const found = this.processes().flatMap((p) => {
      const dataPath = p.argv[p.argv.indexOf('-D') + 1] ?? '';
      const isPostgres = (p.argv[0] ?? '').endsWith('/postgres') && p.argv.includes('-D');
      return isPostgres && dataPath !== metadata && !dataPath.endsWith('/metadata') ? [{ ...p, dataPath }] : [];
    });
    // A session that was forked just now still has the command line of its postmaster.
    const pids = new Set(found.map((p) => p.pid));
    return found.filter((p) => !pids.has(p.parentPid));
  }

  /** The compute of a branch, if it is awake. */
  compute(branchId: string): ComputeProcess | undefined {
    return this.computes().find((p) => p.dataPath.includes(branchId));
  }

  ids(): ProcessIds {
    return JSON.parse(readFileSync(join(this.dataDir, 'processes.json'), 'utf8')) as ProcessIds;
  }

  pidOf(part: PartName): number {
    const ids = this.ids();
    return must(part === 'gateway' ? ids.gateways[0] : ids[part], `a running ${part}`);
  }

  /** Kills one part and gives the pid that it had. */
  kill(part: PartName, signal: NodeJS.Signals = 'SIGKILL'): number {
    const pid = this.pidOf(part);
    process.kill(pid, signal);
    return pid;
  }

  /** Waits until another process has taken the place of the killed one, and all parts serve again. */
  async untilReplaced(part: PartName, oldPid: number, timeoutMs = 30_000): Promise<void> {
    await waitUntil(`a new ${part}`, () => this.pidOf(part) !== oldPid && isAlive(this.pidOf(part)), timeoutMs);
    await this.untilHealthy(timeoutMs);
  }

  async untilHealthy(timeoutMs = 30_000): Promise<void> {
    const isHealthy = async (): Promise<boolean> => {
      const answer = await fetch(`${this.origin}/healthz`, { signal: AbortSignal.timeout(5_000) });
      if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
      return true;
    };
    await waitUntil('GET /healthz to answer 200', isHealthy, timeoutMs);
  }

  /** The end of standard error and of the log, for the message of a failure. */
  stderrTail(lines = 40): string {
    return [this.stderrPath, join(this.dataDir, 'logs', 'tenantry.log')]
      .filter((path) => existsSync(path))
      .map(
        (path) => `--- end of ${path}:\n${readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')}`,
      )
      .join('\n');
  }

  /** Copies standard error and the log to a new directory that nothing removes, and says where: to explain a failure. */
  keepLogs(): string {
    const kept = mkdtempSync('/tmp/tenantry-failed-');
    cpSync(this.stderrPath, join(kept, 'stderr.log'));
    cpSync(join(this.dataDir, 'logs'), join(kept, 'logs'), { recursive: true });
    return kept;
  }

  /** Ends whatever still lives and removes every trace, after a failure too. */
  async discard(): Promise<void> {
    for (let round = 0; round < 50; round++) {
      const left = this.processes();
      if (left.length === 0) break;
      for (const { pid } of left) if (readOsProcess(pid)) killQuietly(pid);
      await new Promise((done) => setTimeout(done, 50));
    }
    const mounts = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[1] ?? '');
    const runDir = existsSync(this.dataDir) ? this.runDir : undefined;
    for (const path of mounts.reverse()) {
      if (path.startsWith(this.dataDir) || (runDir && path.startsWith(runDir))) await run('umount', ['-l', path]);
    }
    if (runDir) rmSync(runDir, { recursive: true, force: true });
    rmSync(this.#root, { recursive: true, force: true, maxRetries: 5 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.stop();
    } finally {
      await this.discard();
    }
  }

  #uids(): { first: number; last: number } {
    if (this.#options.uid !== undefined) return { first: this.#options.uid, last: this.#options.uid };
    try {
      const facts = JSON.parse(readFileSync(join(this.dataDir, 'installation.json'), 'utf8')) as { uidBase: number };
      return { first: facts.uidBase, last: facts.uidBase + 99_999 };
    } catch {
      return { first: -1, last: -1 };
    }
  }

  #recordedIds(): number[] {
    const child = this.#child?.pid === undefined ? [] : [this.#child.pid];
    try {
      const { supervisor, control, host, gateways, metadata } = this.ids();
      return [...child, supervisor, control, host, ...gateways, ...(metadata === null ? [] : [metadata])];
    } catch {
      return child;
    }
  }
}

/** Recorded pids may have been given to strangers meanwhile. */
function isTenantryProcess(p: OsProcess): boolean {
  return p.argv.some((arg) => arg.includes(REPOSITORY) || arg.includes('/postgres') || arg.includes('./start'));
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it ended by itself
  }
}

async function readyLine(child: ChildProcess): Promise<ReadyLine> {
  const { promise, resolve } = Promise.withResolvers<ReadyLine>();
  const lines = createInterface({ input: must(child.stdout, 'standard output of ./start') });
  lines.on('line', (line) => {
    if (line.startsWith('{"ready":true')) resolve(JSON.parse(line) as ReadyLine);
  });
  return await promise;
}
