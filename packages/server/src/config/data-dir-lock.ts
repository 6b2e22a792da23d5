import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { codeOf, messageOf, PlatformError } from '../kernel/errors.ts';
import { makeDirectory } from './make-directory.ts';

/** Held until it is released or the process ends, in whatever way. Keep it: what nobody refers to is collected. */
export interface DataDirLock extends Disposable {
  release(): void;
}

const SQLITE_BUSY = 5;

/** Two that come at once are in each other's way for a moment; then one has it. */
const WAIT_MS = 1_000;

/**
 * Makes this process the only one that runs on a data directory, which is made if it is not there. Node has no flock; but
 * SQLite, which is part of Node, locks its files by fcntl on every system. So the kernel holds the lock and gives it back
 * with the process: nothing stale is to be told from what lives, and children do not inherit it. The database stays empty.
 * @param purpose what cannot be done without it, for the message: "start"
 * @throws PlatformError CONFLICT, with the pid of the process that has it
 */
export async function lockDataDir(dataDir: string, purpose: string): Promise<DataDirLock> {
  await makeDirectory(dataDir, 0o711);
  const path = join(dataDir, 'running.lock');
  const pidPath = join(dataDir, 'running.pid');
  makeFile(path);
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(path, { timeout: WAIT_MS });
    // No journal: a kill would leave it.
    lock.exec('PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE');
  } catch (error) {
    lock?.close();
    const { errcode } = error as { errcode?: number };
    const isHeld = errcode !== undefined && (errcode & 0xff) === SQLITE_BUSY;
    const why = isHeld ? whyHeld(dataDir, pidPath) : `${path} cannot be locked: ${messageOf(error)}`;
    throw new PlatformError('CONFLICT', `Cannot ${purpose}: ${why}`, { cause: error });
  }
  try {
    writeFileSync(pidPath, String(process.pid), { mode: 0o644 });
  } catch {
    // A full disk must not keep it from starting; what another is told then has no pid.
  }
  const release = (): void => {
    if (lock.isOpen) lock.close();
  };
  return { release, [Symbol.dispose]: release };
}

/**
 * Private, as whoever can read it can lock it. Opened only where it is missing: fcntl gives a process's locks back when it
 * closes any descriptor of the file.
 */
function makeFile(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
}

/** For people only; the lock says who may run. SQLite says "busy" as well where a filesystem has no locks. */
function whyHeld(dataDir: string, pidPath: string): string {
  const pid = readPid(pidPath);
  if (pid !== undefined && !isProcess(pid)) {
    return `${dataDir} is locked, but not by process ${pid}, which ran there last and is gone. If nothing else runs there, its filesystem may have no locks (NFS without lockd): use a local disk`;
  }
  const holder = pid === undefined ? '' : ` (pid ${pid})`;
  return `Tenantry runs already on ${dataDir}${holder}. Stop that first, or use another data directory`;
}

function readPid(pidPath: string): number | undefined {
  try {
    return Number(readFileSync(pidPath, 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}

function isProcess(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}
