import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Installation } from '../config/installation.ts';

const run = promisify(execFile);

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

export async function unbindDataDirectory({ needsBindMount, runDir }: Installation): Promise<void> {
  const path = join(runDir, 'data');
  if (needsBindMount && (await isMounted(path))) await run('umount', [path]);
}
