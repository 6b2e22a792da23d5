import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists } from '../kernel/atomic-file.ts';
import { codeOf } from '../kernel/errors.ts';
import { sleep } from '../kernel/wait.ts';

const POLL_MS = 20;

/**
 * The pid of the running postmaster of a data directory, undefined if none runs. Its `postmaster.pid` may outlive it,
 * and the pid may be another process by now, so the process must also have been started with `-D <dataDir>`.
 */
export async function findPostmaster(dataDir: string): Promise<number | undefined> {
  const text = await readFileIfExists(join(dataDir, 'postmaster.pid'));
  // A postmaster in single-user mode writes its pid negative.
  const pid = Number.parseInt(text ?? '', 10);
  return pid > 0 && isPostmaster(pid, dataDir) ? pid : undefined;
}

/**
 * Removes a `postmaster.pid` whose pid is a foreign process by now. Postgres cannot tell, if that process is of its own
 * user, and would refuse to start. Left in place while any process still sits in the data directory: it may be a child
 * of the dead postmaster, which Postgres finds through this file.
 */
export async function removeForeignLock(dataDir: string): Promise<void> {
  const path = join(dataDir, 'postmaster.pid');
  const pid = Number.parseInt((await readFileIfExists(path)) ?? '', 10);
  if (!(pid > 0) || isPostmaster(pid, dataDir) || commandOf(pid) === undefined) return;
  if (!hasProcessIn(dataDir)) await rm(path);
}

/** True while this process is the postmaster of the data directory; a zombie is not. */
export function isPostmaster(pid: number, dataDir: string): boolean {
  const command = commandOf(pid);
  return command !== undefined && command.includes(` -D ${dataDir} `);
}

/** Sends a signal to the postmaster, if it still is that. */
export function signalPostmaster(pid: number, dataDir: string, signal: NodeJS.Signals): void {
  if (!isPostmaster(pid, dataDir)) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

/** False if it still runs after `ms`. */
export async function postmasterEnded(pid: number, dataDir: string, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (isPostmaster(pid, dataDir)) {
    if (performance.now() > deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/** Children of a postmaster work in its data directory. Only Linux tells. */
function hasProcessIn(directory: string): boolean {
  if (process.platform !== 'linux') return false;
  return readdirSync('/proc').some((name) => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/cwd`) === directory;
    } catch {
      return false; // It has ended, or is of another user.
    }
  });
}

/** The words of its command line, each followed by a space; undefined if there is no such process. */
function commandOf(pid: number): string | undefined {
  try {
    if (process.platform === 'linux') {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
    }
    return `${execFileSync('ps', ['-o', 'args=', '-p', String(pid)], { encoding: 'utf8', timeout: 5_000 }).trim()} `;
  } catch {
    return undefined;
  }
}
