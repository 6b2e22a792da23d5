import { mkdir, open, readFile, rename, rm, stat, statfs, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists, syncDirectory, writeFileAtomic } from '../kernel/atomic-file.ts';
import { codeOf, isNoSpace, messageOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { freeBytes, headroomBytes, reserveBytes, walRoomBytes } from './disk-space.ts';
import { runSystemTool } from './system-tool.ts';

export type PoolFilesystem = 'btrfs' | 'xfs';

export interface Pool {
  readonly filesystem: PoolFilesystem;
  /** The mount point. */
  readonly path: string;
  readonly imagePath: string;
}

const MIB = 1024 * 1024;

/** Neither mkfs.btrfs nor mkfs.xfs makes anything useful below this. */
export const POOL_MIN_BYTES = 320 * MIB;

/** A pool that could grow by less is left as it is. */
const GROW_MIN_BYTES = 64 * MIB;

/** What tenants write there is data: a library made of a table's file must not be loaded. */
const SAFE_OPTIONS = ['noexec', 'nosuid', 'nodev'];

/**
 * btrfs reserves metadata for 16 nodes per write under way. With its usual 16 kB, one or two thousand of them are all that
 * a small pool has room for, and then every writer of every tenant waits for a commit. Measured: decision 6.
 */
const BTRFS_NODES = ['--sectorsize', '4096', '--nodesize', '4096'];

/** Where btrfs keeps its superblock, and in there (struct btrfs_super_block) the flags that tell of a free-space tree. */
const BTRFS_SUPER = 0x10000;
const COMPAT_RO_FLAGS = BTRFS_SUPER + 0xb4;
const FREE_SPACE_TREE = 1;

export const poolPaths = (hostDir: string): { path: string; imagePath: string; limitPath: string } => ({
  path: join(hostDir, 'pool'),
  imagePath: join(hostDir, 'pool.img'),
  limitPath: join(hostDir, 'pool.json'),
});

/** A pool grows by an eighth of itself, or by its headroom if that is more. */
const GROW_SHARE = 8;

/** Growing in steps of which each looks at the last: two at once could cut the image below its filesystem. */
const growing = new Map<string, Promise<void>>();

/** The filesystem in the pool's image, or undefined if there is no pool yet. */
export async function findPool(hostDir: string): Promise<PoolFilesystem | undefined> {
  try {
    await using image = await open(poolPaths(hostDir).imagePath, 'r');
    const magic = Buffer.alloc(8);
    await image.read(magic, 0, 4, 0);
    if (magic.toString('latin1', 0, 4) === 'XFSB') return 'xfs';
    await image.read(magic, 0, 8, BTRFS_SUPER + 0x40);
    if (magic.toString('latin1') === '_BHRfS_M') return 'btrfs';
    throw new Error(`Cannot use the pool: ${poolPaths(hostDir).imagePath} holds neither btrfs nor XFS`);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** The size that the operator lets a pool grow to; null: all that its disk has to give. */
export async function readPoolLimit(hostDir: string): Promise<number | null> {
  const text = await readFileIfExists(poolPaths(hostDir).limitPath);
  if (text === undefined) return null;
  const { bytesMax } = JSON.parse(text) as { bytesMax?: unknown };
  if (bytesMax === null || typeof bytesMax === 'number') return bytesMax;
  throw new Error(`Cannot read ${poolPaths(hostDir).limitPath}: it is damaged. Delete it to lift the limit`);
}

export async function writePoolLimit(hostDir: string, bytesMax: number | null): Promise<void> {
  await writeFileAtomic(poolPaths(hostDir).limitPath, JSON.stringify({ format: 1, bytesMax }));
}

/**
 * Makes the image of a pool: formatted, whole or not at all. All of it is allocated, so that a write into the pool never
 * fails for want of space on the disk below: a filesystem that meets that in its metadata turns read-only for every
 * tenant. What is full is the pool, which says so to the one who writes.
 */
export async function makePool(hostDir: string, filesystem: PoolFilesystem): Promise<void> {
  const { imagePath } = poolPaths(hostDir);
  const unfinished = `${imagePath}.tmp`;
  await rm(unfinished, { force: true });
  try {
    await using image = await open(unfinished, 'wx', 0o600);
    const bytes = Math.min(2 * (await headroomBytes(hostDir)), await grantedBytes(hostDir, 0));
    await allocate(unfinished, Math.max(POOL_MIN_BYTES, bytes));
    // The host's own disk decides how safe metadata is: a second copy in the same file would only cost space.
    if (filesystem === 'btrfs')
      await runSystemTool('mkfs.btrfs', '-q', '-K', ...BTRFS_NODES, '-m', 'single', '-d', 'single', unfinished);
    else await runSystemTool('mkfs.xfs', '-q', '-K', '-m', 'reflink=1', unfinished);
    await image.sync();
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
  await rename(unfinished, imagePath);
  await syncDirectory(hostDir);
}

/** Makes a file this large, its blocks taken. A filesystem that cannot take them ahead gets a sparse file. */
async function allocate(path: string, bytes: number): Promise<void> {
  try {
    await runSystemTool('fallocate', '--length', String(bytes), path);
  } catch (error) {
    if (isNoSpace(error) || !/not supported/i.test(messageOf(error))) throw error;
    await truncate(path, bytes);
  }
}

/** Mounts the pool if it is not mounted, and sees to its room. Safe after a crash at any point. */
export async function openPool(hostDir: string, log: Log): Promise<Pool> {
  const { path, imagePath } = poolPaths(hostDir);
  const filesystem = await findPool(hostDir);
  if (!filesystem) throw new Error(`Cannot open the pool: there is no ${imagePath}`);
  await mkdir(path, { recursive: true, mode: 0o711 });
  const mountOptions = await findMountOptions(path);
  if (!mountOptions) {
    const device = await findLoopDevice(imagePath);
    // A discard would give blocks of the image back to the disk that the pool counts on.
    const own = filesystem === 'btrfs' ? await btrfsOptions(imagePath) : [];
    const options = [...SAFE_OPTIONS, 'noatime', 'nodiscard', ...own].join(',');
    // A loop device that a crash left attached is used again: two on one image would destroy it.
    if (device) await runSystemTool('mount', '-t', filesystem, '-o', options, device, path);
    else await runSystemTool('mount', '-t', filesystem, '-o', `loop,${options}`, imagePath, path);
    log.info({ path, filesystem }, 'storage pool mounted');
  } else if (!SAFE_OPTIONS.every((option) => mountOptions.includes(option))) {
    await runSystemTool('mount', '-o', ['remount', 'noatime', ...SAFE_OPTIONS].join(','), path);
  }
  await bypassPageCache(imagePath, log);
  const pool = { filesystem, path, imagePath };
  await growPool(hostDir, pool, { log });
  return pool;
}

/**
 * Without a free-space tree. After a snapshot the next write of every page moves it, and that tree doubles what btrfs
 * reserves for a move. Without it, free space is found by reading block groups when they are first used. `clear_cache`
 * removes the tree that mkfs has made.
 * @see https://btrfs.readthedocs.io/en/latest/btrfs-man5.html (space_cache)
 */
async function btrfsOptions(imagePath: string): Promise<readonly string[]> {
  await using image = await open(imagePath, 'r');
  const flags = Buffer.alloc(1);
  await image.read(flags, 0, 1, COMPAT_RO_FLAGS);
  const hasTree = (flags.readUInt8() & FREE_SPACE_TREE) !== 0;
  return [...(hasTree ? ['clear_cache'] : []), 'nospace_cache'];
}

/** The pool of a host directory as it is, if there is one and it is mounted. */
export async function findMountedPool(hostDir: string): Promise<Pool | undefined> {
  const { path, imagePath } = poolPaths(hostDir);
  const filesystem = await findPool(hostDir);
  return filesystem && (await isMountPoint(path)) ? { filesystem, path, imagePath } : undefined;
}

/** Removes the image of a pool that could not be opened. */
export async function dropPool(hostDir: string): Promise<void> {
  const { imagePath, limitPath } = poolPaths(hostDir);
  for (const path of [imagePath, limitPath]) await rm(path, { force: true });
}

/** The pool caches what it reads; the disk under it need not cache it again. Also faster, as measured, in writing. */
async function bypassPageCache(imagePath: string, log: Log): Promise<void> {
  const device = await findLoopDevice(imagePath);
  if (!device) return;
  try {
    await runSystemTool('losetup', '--direct-io=on', device);
  } catch (error) {
    // Some filesystems and sector sizes cannot.
    log.info({ reason: messageOf(error) }, 'storage pool goes through the page cache twice');
  }
}

/**
 * Unmounts the pool of a host directory; its loop device goes with the mount. Only for the stop of everything: computes
 * outlive Tenantry's processes, and the next start finds the pool mounted or not.
 * @returns false if something still uses it
 */
export async function closeStorage(hostDir: string): Promise<boolean> {
  const { path } = poolPaths(hostDir);
  if (!(await isMountPoint(path))) return true;
  try {
    await runSystemTool('umount', path);
    return true;
  } catch (error) {
    if (await isMountPoint(path)) {
      if (/busy/i.test(String(error))) return false;
      throw error;
    }
    return true;
  }
}

/** What an image may have of the disk: all but what WAL and history are to have, up to the operator's limit. */
async function grantedBytes(hostDir: string, allocated: number): Promise<number> {
  const kept = (await reserveBytes(hostDir)) + (await walRoomBytes(hostDir));
  const givenBytes = allocated + (await freeBytes(hostDir)) - kept;
  return roundDown(Math.min(givenBytes, (await readPoolLimit(hostDir)) ?? givenBytes));
}

const roundDown = (bytes: number): number => Math.floor(bytes / MIB) * MIB;

export interface GrowOptions {
  readonly log: Log;
  /** Take all that the disk has to give, up to the limit. Left out: a step, if the pool is running out of room. */
  readonly isAsked?: boolean;
}

/** Grows a pool that is running out of room. Cheap where it is not: called every second. */
export async function growPool(hostDir: string, pool: Pool, options: GrowOptions): Promise<void> {
  const before = growing.get(pool.imagePath) ?? Promise.resolve();
  const turn = before.then(() => growNow(hostDir, pool, options));
  const settled = turn.catch(() => {});
  growing.set(pool.imagePath, settled);
  try {
    await turn;
  } finally {
    if (growing.get(pool.imagePath) === settled) growing.delete(pool.imagePath);
  }
}

async function growNow(hostDir: string, pool: Pool, { log, isAsked = false }: GrowOptions): Promise<void> {
  const { filesystem, path, imagePath } = pool;
  const headroom = await headroomBytes(hostDir);
  const { blocks: filesystemBlocks, bsize } = await statfs(path);
  const { size, blocks } = await stat(imagePath);
  // A crash between the two steps below leaves a filesystem that is smaller than its image.
  const isBehind = size - filesystemBlocks * bsize > GROW_MIN_BYTES && filesystem === 'btrfs';
  if (!isAsked && !isBehind && (await freeBytes(path)) >= headroom) return;
  const granted = await grantedBytes(hostDir, blocks * 512);
  const wanted = isAsked ? granted : Math.min(granted, roundDown(size + Math.max(headroom, size / GROW_SHARE)));
  const isGrowing = wanted - size >= GROW_MIN_BYTES;
  if (!isGrowing && !isBehind) return;
  const device = await findLoopDevice(imagePath);
  if (!device) return;
  if (isGrowing) await allocate(imagePath, wanted);
  await runSystemTool('losetup', '-c', device);
  if (filesystem === 'btrfs') await runSystemTool('btrfs', 'filesystem', 'resize', 'max', path);
  else await runSystemTool('xfs_growfs', path);
  log.info({ path, fromBytes: size, toBytes: Math.max(wanted, size) }, 'storage pool grown');
}

const isMountPoint = async (path: string): Promise<boolean> => (await findMountOptions(path)) !== undefined;

/** The options of the newest mount at `path`; undefined if none is. */
async function findMountOptions(path: string): Promise<readonly string[] | undefined> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  // The fifth word is the mount point, with blanks as \040; the sixth are the options.
  const escaped = path.replace(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
  const words = mounts.split('\n').map((line) => line.split(' '));
  return words.findLast((line) => line[4] === escaped)?.[5]?.split(',');
}

/** By device and inode of the image, not by its path: one image may be reached by several. */
async function findLoopDevice(imagePath: string): Promise<string | undefined> {
  const names = await runSystemTool('losetup', '--associated', imagePath, '--noheadings', '--output', 'NAME');
  return names.trim().split('\n')[0]?.trim() || undefined;
}
