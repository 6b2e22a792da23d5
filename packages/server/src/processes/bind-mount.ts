import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Installation } from '../config/installation.ts';
import { sleep } from '../kernel/wait.ts';

const run = promisify(execFile);

const UNMOUNT_MAX_MS = 3_000;
const UNMOUNT_PAUSE_MS = 50;

async function isMounted(path: string): Promise<boolean> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  return mounts.split('\n').some((line) => line.split(' ')[4] === path);
}

/** Makes a data directory below a private home walkable for tenants' OS users: a bind mount below the run directory. */
export async function bindDataDirectory({ needsBindMount, dataDir, reachableDataDir }: Installation): Promise<void> {
  if (!needsBindMount || (await isMounted(reachableDataDir))) return;
  await mkdir(reachableDataDir, { recursive: true, mode: 0o711 });
  await run('mount', ['--bind', dataDir, reachableDataDir]);
}

/**
 * Takes the bind mount away. A process that just ended may hold it for a moment; what holds it longer is left with a
 * mount that nobody sees any more and that goes with its last user.
 */
export async function unbindDataDirectory({ needsBindMount, runDir }: Installation): Promise<void> {
  if (!needsBindMount) return;
  const path = join(runDir, 'data');
  const deadline = performance.now() + UNMOUNT_MAX_MS;
  while (await isMounted(path)) {
    const options = performance.now() > deadline ? ['--lazy'] : [];
    await run('umount', [...options, path]).catch(() => sleep(UNMOUNT_PAUSE_MS));
  }
}
