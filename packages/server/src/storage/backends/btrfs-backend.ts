import { chmod, lchown, lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../kernel/errors.ts';
import { runSystemTool } from '../system-tool.ts';
import type { FileOwner } from '../volume-store.ts';
import { forEachParallel, listTree } from '../walk-tree.ts';
import { type BackendOptions, dataPathOf, REMOVE, type StorageBackend } from './backend.ts';

/** The inode number of the root of every btrfs subvolume (BTRFS_FIRST_FREE_OBJECTID). */
const SUBVOLUME_INODE = 256;

/**
 * Trees are subvolumes and a clone is a snapshot: atomic, independent of size. Needs root.
 *
 * A clone must not touch its files, only its `data` directory. Giving 1,300 files to a new owner would copy all
 * metadata of the tree (0.6 MB) and add a back reference to every extent, which makes the commit slower with every
 * volume there is (70 ms at 500 volumes, against 4 ms). So the files of a template are open to all, and what guards
 * them in a clone is `data` itself, which has mode 0700 and the clone's owner. Files that Postgres makes are its own.
 */
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
    removeTree,
    // A rename of a subvolume makes the next sync of its parent a commit of the whole filesystem.
    async settleTree() {},
    makeRoom: makeRoom ?? (async () => {}),
    exclusiveBytes,
  };
}

async function createTree(path: string): Promise<void> {
  await runSystemTool('btrfs', 'subvolume', 'create', path);
  await chmod(path, 0o711);
  // No data CoW: Postgres' writes stay in place; files made below inherit it.
  await runSystemTool('chattr', '+C', path);
}

async function openToAll(path: string): Promise<void> {
  const data = dataPathOf(path);
  await forEachParallel(await listTree(data), async (entry) => {
    if (entry.kind === 'directory') await chmod(join(data, entry.path), 0o777);
    if (entry.kind === 'file') await chmod(join(data, entry.path), 0o666);
  });
}

async function cloneTree(source: string, target: string, owner: FileOwner | null): Promise<void> {
  await runSystemTool('btrfs', 'subvolume', 'snapshot', source, target);
  if (owner) await lchown(dataPathOf(target), owner.uid, owner.gid);
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
async function exclusiveBytes(path: string): Promise<number> {
  const table = await runSystemTool('btrfs', 'filesystem', 'du', '--raw', '--summarize', path);
  const [, exclusive] = table.trim().split('\n').at(-1)?.trim().split(/\s+/) ?? [];
  const bytes = Number(exclusive);
  if (!Number.isFinite(bytes)) throw new Error(`Cannot read what btrfs says of ${path}: ${table.trim()}`);
  return bytes;
}
