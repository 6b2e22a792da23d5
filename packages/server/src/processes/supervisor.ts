import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findProcess, findProcessesByCommand } from '../compute/process-table.ts';
import type { Config } from '../config/config.ts';
import { type DataDirLock, lockDataDir } from '../config/data-dir-lock.ts';
import { type Installation, makeDirectories, openInstallation } from '../config/installation.ts';
import { ensureSecrets } from '../config/secrets.ts';
import { removeUnfinishedEngines } from '../engines/remove-unfinished.ts';
import { ensureCertificates } from '../gateway/tls/certificates.ts';
import { removeUnfinishedFiles, writeFileAtomic } from '../kernel/atomic-file.ts';
import { messageOf } from '../kernel/errors.ts';
import { createLog, type Log } from '../kernel/log.ts';
import { findPostmaster } from '../metadata/postmaster.ts';
import { bindDataDirectory, unbindDataDirectory } from './bind-mount.ts';
import { ManagedProcess } from './child-process.ts';
import { childEnvironment } from './child-environment.ts';
import { KILL_AFTER_MS, KILL_GATEWAY_AFTER_MS } from './end-budget.ts';
import { LogFile } from './log-file.ts';
import { findPort } from './ports.ts';
import { endPreviousRun } from './previous-run.ts';
import type { EndMode, ProcessesFile } from './protocol.ts';

export interface RunningPlatform {
  readonly apiPort: number;
  readonly pgPort: number;
  readonly httpsPort: number;
  readonly adminKey: string;
  readonly caPath: string;
  readonly logPath: string;
}

interface Parts {
  readonly control: ManagedProcess;
  readonly host: ManagedProcess;
  readonly gateways: readonly ManagedProcess[];
}

const CERTIFICATE_RENEWAL_MS = 12 * 3_600_000;

const MAIN = new URL('../main.ts', import.meta.url).pathname;

/** What a `kill -9` left half made. Nothing but Postgres runs now, which makes no such names. */
async function removeUnfinished({ dataDir, paths }: Installation): Promise<void> {
  await removeUnfinishedEngines(join(dataDir, 'engines'));
  const directories = [dataDir, paths.secrets, paths.gateway, join(dataDir, 'host'), join(dataDir, 'metadata')];
  for (const directory of directories.filter((path) => existsSync(path))) await removeUnfinishedFiles(directory);
}

/**
 * The parent of all our processes on one machine: starts control, host and gateways, starts again what dies, and ends
 * them in order. It serves nothing itself.
 */
export class Supervisor {
  readonly #config: Config;
  readonly #installation: Installation;
  /** Until the process ends: never released before what it protects is gone. */
  readonly #lock: DataDirLock;
  readonly #log: Log;
  readonly #logFile: LogFile | undefined;
  #parts: Parts | undefined;
  #ports = { apiPort: 0, pgPort: 0, httpsPort: 0 };
  #writes: Promise<void> = Promise.resolve();
  #restarts: Promise<void> = Promise.resolve();
  #renewal: NodeJS.Timeout | undefined;

  private constructor(config: Config, installation: Installation, lock: DataDirLock) {
    this.#lock = lock;
    this.#config = config;
    this.#installation = installation;
    this.#logFile =
      config.logTo === 'file' ? new LogFile(join(installation.dataDir, 'logs', 'tenantry.log')) : undefined;
    this.#log = createLog('supervisor', config.logLevel, this.#logFile);
  }

  /** @throws PlatformError CONFLICT if a platform runs on the data directory; nothing there has been touched then */
  static async open(config: Config): Promise<Supervisor> {
    const lock = await lockDataDir(config.dataDir, 'start');
    const installation = await openInstallation(config.dataDir);
    await endPreviousRun(installation);
    await makeDirectories(installation);
    await removeUnfinished(installation);
    await bindDataDirectory(installation);
    return new Supervisor(config, installation, lock);
  }

  /**
   * Starts everything; resolves when all parts serve. What did start is ended again if one part cannot; but an
   * installation that has served before does so without control, which is tried until it starts.
   * @param onTrouble told why control did not start
   */
  async start(onTrouble: (message: string) => void): Promise<RunningPlatform> {
    const { paths } = this.#installation;
    const { listenAddress, apiPort, pgPort, isPgPortFixed, httpsPort, domain } = this.#config;
    const secrets = await ensureSecrets(paths.secrets, this.#config.adminKey);
    const certificates = await ensureCertificates({ directory: paths.secrets, domain });
    this.#ports = {
      apiPort: await findPort(listenAddress, apiPort, true, '--api-port'),
      pgPort: await findPort(listenAddress, pgPort, isPgPortFixed, '--pg-port'),
      httpsPort,
    };

    const env = childEnvironment(this.#config, this.#ports, secrets.adminKey);
    const hasServed = (await readdir(paths.gateway)).length > 0;
    const manage = (name: string, args: readonly string[] = [], onFailedStart?: (message: string) => void) =>
      new ManagedProcess({
        name,
        modulePath: MAIN,
        args: [name, ...args],
        onFailedStart,
        killAfterMs: name === 'gateway' ? KILL_GATEWAY_AFTER_MS : KILL_AFTER_MS,
        env,
        log: this.#log,
        logTo: (chunk) => (this.#logFile ? this.#logFile.write(chunk) : process.stderr.write(chunk)),
        onChange: () => this.#writeProcessesFile(),
      });
    this.#parts = {
      control: manage('control', [], hasServed ? onTrouble : undefined),
      host: manage('host'),
      gateways: Array.from({ length: this.#config.gatewayWorkers }, (_, index) => manage('gateway', [String(index)])),
    };
    try {
      await Promise.all([this.#parts.control, this.#parts.host, ...this.#parts.gateways].map((part) => part.start()));
    } catch (error) {
      const left = await this.end('stop');
      throw left.length === 0 ? error : new Error(`${messageOf(error)}\n${this.tellLeft(left)}`, { cause: error });
    }
    this.#renewal = setInterval(() => this.#renewCertificates(), CERTIFICATE_RENEWAL_MS);
    await this.#writes;
    return {
      ...this.#ports,
      adminKey: secrets.adminKey.reveal(),
      caPath: certificates.caPath,
      logPath: join(this.#installation.dataDir, 'logs', 'tenantry.log'),
    };
  }

  /**
   * Gateways first, so that no client meets a platform that is half gone.
   * @returns what a stop could not end, in words. The run directory and the mounts then stay: running Postgres
   * processes need them, and the next start finds those by them
   */
  async end(mode: EndMode): Promise<readonly string[]> {
    const parts = this.#parts;
    if (!parts) return [];
    this.#parts = undefined;
    clearInterval(this.#renewal);
    await Promise.all(parts.gateways.map((gateway) => gateway.end(mode)));
    // What control owns is its Postgres, which the system is asked for.
    const [, fault] = await Promise.all([parts.control.end(mode), parts.host.end(mode)]);
    await this.#writes;
    if (mode === 'detach') return [];
    const left = [...(fault === undefined ? [] : [fault]), ...(await this.#runningPostgres())];
    if (left.length > 0) {
      this.#log.error({ left }, 'Not everything has stopped');
      return left;
    }
    await unbindDataDirectory(this.#installation);
    await rm(this.#installation.paths.processes, { force: true });
    await rm(this.#installation.runDir, { recursive: true, force: true });
    this.#lock.release();
    return [];
  }

  /** For people: what `end` could not end, and what to do. */
  tellLeft(left: readonly string[]): string {
    const { runDir, dataDir } = this.#installation;
    return [
      'Not everything has stopped:',
      ...left.map((what) => `  - ${what}`),
      `What runs needs ${runDir}, so that stays. Start Tenantry on ${dataDir} again, which takes it over, and stop it then.`,
    ].join('\n');
  }

  /** Asked of the system, not of our processes: they may have died before they could end theirs. */
  async #runningPostgres(): Promise<string[]> {
    const { runDir, paths } = this.#installation;
    const computes = findProcessesByCommand(`config_file=${runDir}/`).map(({ identity }) => identity.pid);
    const metadata = await findPostmaster(paths.metadata);
    return [
      ...(computes.length > 0 ? [`computes still run (pid ${computes.join(', ')})`] : []),
      ...(metadata === undefined ? [] : [`the metadata Postgres still runs (pid ${metadata})`]),
    ];
  }

  /**
   * Starts every process anew from the code on disk, one after another, under running computes. A second call waits for
   * the first. Never rejects: a process that does not come back is tried again by its own back-off, and the log tells.
   */
  async restartProcesses(): Promise<void> {
    this.#restarts = this.#restarts.then(() => this.#restartEach());
    await this.#restarts;
  }

  async #restartEach(): Promise<void> {
    const parts = this.#parts;
    if (!parts) return;
    this.#log.info('Starting all processes anew');
    for (const part of [parts.host, parts.control, ...parts.gateways]) {
      if (!this.#parts) return;
      try {
        await part.restart();
      } catch (error) {
        this.#log.error({ err: error }, 'A process did not come back in time');
      }
    }
  }

  #renewCertificates(): void {
    const directory = this.#installation.paths.secrets;
    ensureCertificates({ directory, domain: this.#config.domain }).catch((error: unknown) =>
      this.#log.error({ err: error }, 'Cannot renew the certificate'),
    );
  }

  #writeProcessesFile(): void {
    const parts = this.#parts;
    if (!parts) return;
    const file: Omit<ProcessesFile, 'startTimes'> = {
      supervisor: process.pid,
      control: parts.control.pid,
      host: parts.host.pid,
      gateways: parts.gateways.map((gateway) => gateway.pid),
      metadata: parts.control.ready?.metadataPid ?? null,
      ...this.#ports,
    };
    const pids = [file.supervisor, file.control, file.host, file.metadata, ...file.gateways].filter(
      (pid) => pid !== null,
    );
    const startTimes = Object.fromEntries(pids.map((pid) => [String(pid), findProcess(pid)?.startTime ?? '']));
    const text = JSON.stringify({ ...file, startTimes }, null, 2);
    this.#writes = this.#writes
      .then(() => writeFileAtomic(this.#installation.paths.processes, text, 0o644))
      .catch((error: unknown) => this.#log.warn({ err: error }, 'Cannot write the processes file'));
  }
}
