import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../kernel/errors.ts';

/** More than Node's four I/O threads, so that they never wait for the event loop. */
const PARALLEL = 16;

/** Calls `work` for each item, a few at a time. After the first failure no more are begun. */
export async function forEachParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  async function lane(): Promise<void> {
    while (next < items.length) {
      const item = items[next++] as T;
      try {
        await work(item);
      } catch (error) {
        next = items.length;
        throw error;
      }
    }
  }
  const lanes = await Promise.allSettled(Array.from({ length: PARALLEL }, lane));
  for (const lane of lanes) if (lane.status === 'rejected') throw lane.reason;
}

export interface TreeEntry {
  /** Relative to the root of the walk. */
  readonly path: string;
  readonly kind: 'directory' | 'file' | 'link' | 'other';
}

/**
 * All that is below a directory, parents before their children.
 * @param isRunning directories may be removed while we look
 */
export async function listTree(root: string, isRunning = false): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = [];
  let level = [''];
  while (level.length > 0) {
    const below: string[] = [];
    await forEachParallel(level, async (directory) => {
      for (const entry of await readEntries(join(root, directory), isRunning)) {
        const path = directory ? `${directory}/${entry.name}` : entry.name;
        entries.push({ path, kind: kindOf(entry) });
        if (entry.isDirectory()) below.push(path);
      }
    });
    level = below;
  }
  return entries;
}

async function readEntries(path: string, isRunning: boolean): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (isRunning && codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function kindOf(entry: Dirent): TreeEntry['kind'] {
  if (entry.isDirectory()) return 'directory';
  if (entry.isFile()) return 'file';
  return entry.isSymbolicLink() ? 'link' : 'other';
}
