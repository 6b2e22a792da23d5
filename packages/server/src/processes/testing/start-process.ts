import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openInstallation, type Installation } from '../../config/installation.ts';
import { findProcessesByCommand } from '../../compute/process-table.ts';
import { sleep } from '../../kernel/wait.ts';
import { unbindDataDirectory } from '../bind-mount.ts';
import { readProcessesFile } from '../previous-run.ts';

const MAIN = join(import.meta.dirname, '../../main.ts');

/** A `./start` of a test, with what it says. */
export class StartProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  stdout = '';
  stderr = '';

  constructor(dataDir: string) {
    const flags = ['--data-dir', dataDir, '--storage', 'copy', '--gateway-workers', '1'];
    const ports = ['--api-port', '0', '--pg-port', '0', '--https-port', '0'];
    this.child = spawn(process.execPath, [MAIN, 'start', '--json', ...flags, ...ports], { detached: true });
    this.child.stdout?.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()));
    this.child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.exited = once(this.child, 'exit').then(([code]) => code as number | null);
  }

  /** The API's address, once it is ready. */
  async ready(): Promise<string> {
    while (!this.stdout.includes('"ready":true')) {
      if (this.child.exitCode !== null) throw new Error(`./start ended with ${this.child.exitCode}: ${this.stderr}`);
      await sleep(20);
    }
    return new URL((JSON.parse(this.stdout) as { api_url: string }).api_url).origin;
  }

  async stop(): Promise<number | null> {
    this.child.kill('SIGTERM');
    return await this.exited;
  }
}

/** A data directory; `dispose` ends whatever runs on it. */
export async function makeDataDir(): Promise<{ dataDir: string; dispose: () => Promise<void> }> {
  const root = await mkdtemp('/tmp/tenantry-start-');
  const dataDir = join(root, 'data');
  const dispose = async (): Promise<void> => {
    const installation = await openInstallation(dataDir);
    while (killAll(installation) > 0) await sleep(20);
    if (existsSync(installation.runDir)) await unbindDataDirectory(installation);
    await rm(installation.runDir, { recursive: true, force: true });
    await rm(root, { recursive: true, force: true });
  };
  return { dataDir, dispose };
}

function killAll({ dataDir, runDir }: Installation): number {
  const left = [dataDir, `${runDir}/`].flatMap((text) => findProcessesByCommand(text));
  for (const { identity } of left) process.kill(identity.pid, 'SIGKILL');
  return left.length;
}

export async function processesOf(dataDir: string) {
  const file = await readProcessesFile(join(dataDir, 'processes.json'));
  if (!file) throw new Error('nothing runs');
  return file;
}
