import { chmod, lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../kernel/errors.ts';
import { runSystemTool } from '../system-tool.ts';
import type { FileOwner } from '../volume-store.ts';
import { type BackendOptions, REMOVE, type StorageBackend, type TreeUsage } from './backend.ts';
import { giveData, openToAll } from './open-tree.ts';

/** The inode number of the root of every btrfs subvolume (BTRFS_FIRST_FREE_OBJECTID). */
const SUBVOLUME_INODE = 256;

/** Trees are subvolumes and a clone is a snapshot: atomic, independent of size. Needs root. */
export function createBtrfsBackend({ root, location, advice, makeRoom }: BackendOptions): StorageBackend {
  return {
    info: {
      name: 'btrfs',
      location,
      capabilities: {
        atomicLiveSnapshot: true,
        cowClone: true,
        crossHostClone: false,
        maxCloneDepth: null,
        childrenPinParent: false,
      },
      advice,
    },
    root,
    createTree,
    sealTree: openToAll,
    cloneTree,
    cloneRunningTree: cloneTree,
    removeTree,
    async settleRemovals() {
      // Deleted subvolumes are cleaned away after the next commit, which may be half a minute off.
      await runSystemTool('btrfs', 'filesystem', 'sync', root);
      await runSystemTool('btrfs', 'subvolume', 'sync', root);
    },
    // A rename of a subvolume makes the next sync of its parent a commit of the whole filesystem.
    async settleTree() {},
    makeRoom: makeRoom ?? (async () => {}),
    measureTree,
  };
}

async function createTree(path: string): Promise<void> {
  await runSystemTool('btrfs', 'subvolume', 'create', path);
  await chmod(path, 0o711);
  // No data CoW: Postgres' writes stay in place; files made below inherit it.
  await runSystemTool('chattr', '+C', path);
}

async function cloneTree(source: string, target: string, owner: FileOwner | null): Promise<void> {
  await runSystemTool('btrfs', 'subvolume', 'snapshot', source, target);
  await giveData(target, owner);
}

async function removeTree(path: string): Promise<void> {
  for (const subvolume of await listSubvolumes(path)) await runSystemTool('btrfs', 'subvolume', 'delete', subvolume);
  await rm(path, REMOVE);
}

/** The path itself, or those directly below it. */
async function listSubvolumes(path: string): Promise<string[]> {
  try {
    if (await isSubvolume(path)) return [path];
    const below = (await readdir(path)).map((name) => join(path, name));
    const flags = await Promise.all(below.map(isSubvolume));
    return below.filter((_, index) => flags[index]);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

async function isSubvolume(path: string): Promise<boolean> {
  const { ino } = await lstat(path);
  return ino === SUBVOLUME_INODE;
}

/** Data blocks; the metadata of a sleeping volume is some 100 kB more. */
async function measureTree(path: string): Promise<TreeUsage> {
  const table = await runSystemTool('btrfs', 'filesystem', 'du', '--raw', '--summarize', path);
  const words = table.trim().split('\n').at(-1)?.trim().split(/\s+/) ?? [];
  const [totalBytes = Number.NaN, exclusiveBytes = Number.NaN] = words.map(Number);
  if (!Number.isFinite(totalBytes - exclusiveBytes)) {
    throw new Error(`Cannot read what btrfs says of ${path}: ${table.trim()}`);
  }
  return { exclusiveBytes, sharedBytes: totalBytes - exclusiveBytes };
}
