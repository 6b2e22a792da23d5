import { constants } from 'node:fs';
import { copyFile, mkdir, readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unreachable } from '../kernel/assert.ts';
import { readFileIfExists, writeFileAtomic } from '../kernel/atomic-file.ts';
import { codeOf, messageOf, PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { StorageBackend } from './backends/backend.ts';
import { createBtrfsBackend } from './backends/btrfs-backend.ts';
import { createFileBackend } from './backends/file-backend.ts';
import { findDataset, openZfsBackend } from './backends/zfs-backend.ts';
import { freeBytes, reserveBytes, walRoomBytes } from './disk-space.ts';
import {
  dropPool,
  findPool,
  growPool,
  makePool,
  openPool,
  POOL_MIN_BYTES,
  type Pool,
  type PoolFilesystem,
  writePoolLimit,
  poolPaths,
} from './pool.ts';
import { hasSystemTool, runSystemTool } from './system-tool.ts';

export type StorageSetting = 'auto' | 'btrfs' | 'reflink' | 'zfs' | 'copy';

interface OpenBackendOptions {
  readonly hostDir: string;
  readonly setting: StorageSetting;
  readonly isRoot: boolean;
  readonly log: Log;
}

/** Where volumes can live: directly below the host directory or in a pool, and by which backend. */
type Layout = 'btrfs' | 'reflink' | 'zfs' | 'copy' | 'btrfs-pool' | 'xfs-pool';

const LAYOUTS: readonly Layout[] = ['btrfs', 'reflink', 'zfs', 'btrfs-pool', 'xfs-pool', 'copy'];

/** What a setting takes where there are no volumes yet, best first. Datasets are made only where that is asked for. */
const LAYOUTS_OF: Readonly<Record<StorageSetting, readonly Layout[]>> = {
  auto: LAYOUTS.filter((layout) => layout !== 'zfs'),
  btrfs: ['btrfs', 'btrfs-pool'],
  reflink: ['reflink', 'xfs-pool'],
  zfs: ['zfs'],
  copy: ['copy'],
};

const BTRFS_MAGIC = 0x9123683e;

/**
 * Opens the best backend that the setting allows and the machine has. The choice is kept in `<hostDir>/storage.json`
 * and stays while there are volumes, whatever is installed later: they would not be found elsewhere.
 * @throws PlatformError INVALID_REQUEST that says why a setting cannot be had, and what to do
 */
export async function openBackend(options: OpenBackendOptions): Promise<StorageBackend> {
  const { hostDir, setting, log } = options;
  const kept = await readKeptLayout(hostDir);
  if (kept && (await mayHoldVolumes(options, kept))) {
    if (setting !== 'auto' && !LAYOUTS_OF[setting].includes(kept)) {
      throw cannotUse(setting, `volumes of this installation are stored by ${kept}. Move them, or set it to auto`);
    }
    const obstacle = await findObstacle(kept, options);
    if (obstacle) throw cannotUse(kept, `volumes are stored so, but ${obstacle}`);
    try {
      return await openLayout(kept, options, []);
    } catch (error) {
      throw cannotUse(kept, `volumes are stored so, but ${messageOf(error)}`, error);
    }
  }
  if (kept) await assertNothingLost(hostDir, kept);
  const obstacles: string[] = [];
  for (const layout of LAYOUTS_OF[setting]) {
    try {
      const obstacle = await findObstacle(layout, options);
      if (obstacle) {
        obstacles.push(obstacle);
        continue;
      }
      const backend = await openLayout(layout, options, obstacles);
      await writeFileAtomic(join(hostDir, 'storage.json'), JSON.stringify({ format: 1, layout }));
      return backend;
    } catch (error) {
      log.warn({ layout, reason: messageOf(error) }, 'storage layout cannot be used');
      obstacles.push(messageOf(error));
    }
  }
  throw cannotUse(setting, obstacles.join('; '));
}

function cannotUse(name: string, why: string, cause?: unknown): PlatformError {
  return new PlatformError('INVALID_REQUEST', `Cannot use storage ${name}: ${why}`, { cause });
}

async function readKeptLayout(hostDir: string): Promise<Layout | undefined> {
  const text = await readFileIfExists(join(hostDir, 'storage.json'));
  if (text === undefined) return undefined;
  const kept = JSON.parse(text) as { layout?: unknown };
  const layout = LAYOUTS.find((known) => known === kept.layout);
  if (!layout)
    throw new Error(`Cannot read ${hostDir}/storage.json: it names no storage layout that this version knows`);
  return layout;
}

/** A pool counts as holding volumes until it has been opened and found empty. */
async function mayHoldVolumes({ hostDir, log }: OpenBackendOptions, layout: Layout): Promise<boolean> {
  const poolFilesystem = isPool(layout) ? await findPool(hostDir) : undefined;
  if (isPool(layout) && !poolFilesystem) return false;
  try {
    const root = poolFilesystem ? (await openPool(hostDir, log)).path : hostDir;
    return (await readdir(join(root, 'volumes'))).length > 0;
  } catch (error) {
    return codeOf(error) !== 'ENOENT';
  }
}

/**
 * WAL of volumes lies beside the pool. Where it is and the pool is not (its disk is not mounted, say), a new one would
 * have it removed as belonging to nobody.
 */
async function assertNothingLost(hostDir: string, kept: Layout): Promise<void> {
  if (!isPool(kept) || (await findPool(hostDir))) return;
  const path = join(hostDir, 'wal');
  if (!(await hasEntries(path))) return;
  const why = `its image ${poolPaths(hostDir).imagePath} is missing, while ${path} belongs to volumes in it`;
  throw cannotUse(kept, `${why}. Put it back, or remove ${path} if they are to be given up`);
}

async function hasEntries(path: string): Promise<boolean> {
  try {
    return (await readdir(path)).length > 0;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

const isPool = (layout: Layout): layout is 'btrfs-pool' | 'xfs-pool' => layout.endsWith('-pool');

/** Why a layout cannot be used here, in words that end a sentence; undefined if it can. */
async function findObstacle(layout: Layout, { hostDir, isRoot }: OpenBackendOptions): Promise<string | undefined> {
  switch (layout) {
    case 'copy':
      return undefined;
    case 'reflink':
      return (await canReflink(hostDir)) ? undefined : `the filesystem of ${hostDir} cannot share blocks between files`;
    case 'btrfs':
      if ((await statfs(hostDir)).type !== BTRFS_MAGIC) return `${hostDir} is not on btrfs`;
      if (!isRoot) return 'snapshots of btrfs need root';
      return (await hasSystemTool('btrfs')) ? undefined : 'btrfs is missing (apt-get install btrfs-progs)';
    case 'zfs':
      return findZfsObstacle({ hostDir, isRoot });
    case 'btrfs-pool':
      return findPoolObstacle('btrfs', { hostDir, isRoot });
    case 'xfs-pool':
      return findPoolObstacle('xfs', { hostDir, isRoot });
  }
  return unreachable(layout);
}

async function findZfsObstacle({
  hostDir,
  isRoot,
}: Pick<OpenBackendOptions, 'hostDir' | 'isRoot'>): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'datasets need Linux';
  if (!isRoot) return 'datasets of ZFS need root';
  if (!(await hasSystemTool('zfs'))) return 'zfs is missing (apt-get install zfsutils-linux)';
  return (await findDataset(hostDir)) ? undefined : `${hostDir} is not on a ZFS dataset (zfs create -o mountpoint=...)`;
}

async function findPoolObstacle(
  filesystem: PoolFilesystem,
  { hostDir, isRoot }: Pick<OpenBackendOptions, 'hostDir' | 'isRoot'>,
): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'a storage pool needs Linux';
  if (!isRoot) return 'a storage pool needs root';
  const tool = `mkfs.${filesystem}`;
  if (!(await hasSystemTool(tool))) return `${tool} is missing (apt-get install ${packageOf(filesystem)})`;
  const present = await findPool(hostDir);
  if (present) return present === filesystem ? undefined : `the pool in ${hostDir} is ${present}`;
  const bytes = (await freeBytes(hostDir)) - (await reserveBytes(hostDir)) - (await walRoomBytes(hostDir));
  return bytes < POOL_MIN_BYTES ? 'a storage pool needs 320 MB of free disk' : undefined;
}

const packageOf = (filesystem: PoolFilesystem): string => (filesystem === 'btrfs' ? 'btrfs-progs' : 'xfsprogs');

async function canReflink(hostDir: string): Promise<boolean> {
  const probe = join(hostDir, '.reflink-probe');
  try {
    await writeFile(probe, Buffer.alloc(4096, 1));
    await copyFile(probe, `${probe}.clone`, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch {
    return false;
  } finally {
    await rm(probe, { force: true });
    await rm(`${probe}.clone`, { force: true });
  }
}

async function openLayout(
  layout: Layout,
  { hostDir, isRoot, log }: OpenBackendOptions,
  obstacles: readonly string[],
): Promise<StorageBackend> {
  if (layout === 'btrfs') {
    const walDir = join(hostDir, 'wal');
    await mkdir(walDir, { recursive: true });
    // WAL is written in place, like the data; what is made below inherits it.
    await runSystemTool('chattr', '+C', walDir);
    return createBtrfsBackend({ root: hostDir, location: `${hostDir} (btrfs)`, advice: null });
  }
  if (layout === 'reflink') {
    return createFileBackend({ name: 'reflink', root: hostDir, location: hostDir, advice: null });
  }
  if (layout === 'zfs') {
    return openZfsBackend({ root: hostDir, location: `${hostDir} (ZFS)`, advice: null });
  }
  if (layout === 'copy') {
    return createFileBackend({ name: 'copy', root: hostDir, location: hostDir, advice: copyAdvice(isRoot, obstacles) });
  }
  const wanted = layout === 'btrfs-pool' ? 'btrfs' : 'xfs';
  const pool = (await findPool(hostDir)) ? await openPool(hostDir, log) : await openNewPool(wanted, hostDir, log);
  const location = `${pool.path} (${wanted} in ${pool.imagePath})`;
  const makeRoom = (): Promise<void> => growPool(hostDir, pool, { log });
  if (wanted === 'btrfs') return createBtrfsBackend({ root: pool.path, location, advice: null, makeRoom });
  return createFileBackend({ name: 'reflink', root: pool.path, location, advice: XFS_POOL_ADVICE, makeRoom });
}

/** An image that cannot be mounted here (a container without the right to) would only be in the way. */
async function openNewPool(filesystem: PoolFilesystem, hostDir: string, log: Log): Promise<Pool> {
  await makePool(hostDir, filesystem);
  try {
    return await openPool(hostDir, log);
  } catch (error) {
    await dropPool(hostDir);
    throw error;
  }
}

interface CreatePoolOptions {
  readonly hostDir: string;
  readonly isRoot: boolean;
  /** How large it may grow; null: as its disk allows. */
  readonly bytesMax: number | null;
  readonly log: Log;
}

/**
 * Makes and mounts the pool ahead of the first start, for an operator who wants it smaller than its disk.
 * @throws PlatformError CONFLICT if there is one or there are volumes, INVALID_REQUEST if none can be made or is needed
 */
export async function createPool({ hostDir, isRoot, bytesMax, log }: CreatePoolOptions): Promise<Pool> {
  const refuse = (code: 'CONFLICT' | 'INVALID_REQUEST', why: string): PlatformError =>
    new PlatformError(code, `Cannot create a pool: ${why}`);
  if (await findPool(hostDir)) throw refuse('CONFLICT', `there is one in ${hostDir}; see tenantry storage grow`);
  const kept = await readKeptLayout(hostDir);
  if (kept && (await mayHoldVolumes({ hostDir, setting: 'auto', isRoot, log }, kept))) {
    throw refuse('CONFLICT', `volumes are stored by ${kept} already, and a pool would not take them in`);
  }
  if (kept) await assertNothingLost(hostDir, kept);
  if (bytesMax !== null && bytesMax < POOL_MIN_BYTES) throw refuse('INVALID_REQUEST', 'it takes 320 MB at least');
  for (const layout of ['btrfs', 'reflink'] as const) {
    if ((await findObstacle(layout, { hostDir, setting: 'auto', isRoot, log })) === undefined) {
      throw refuse('INVALID_REQUEST', `${hostDir} is on a filesystem that clones by itself, so none is needed`);
    }
  }
  const obstacles: string[] = [];
  for (const filesystem of ['btrfs', 'xfs'] as const) {
    const obstacle = await findPoolObstacle(filesystem, { hostDir, isRoot });
    if (obstacle) {
      obstacles.push(obstacle);
      continue;
    }
    if (bytesMax !== null) await writePoolLimit(hostDir, bytesMax);
    return await openNewPool(filesystem, hostDir, log);
  }
  throw refuse('INVALID_REQUEST', obstacles.join('; '));
}

const XFS_POOL_ADVICE =
  'Cloning a volume takes time per file, and a running volume has no atomic snapshot. With no volumes yet: apt-get install btrfs-progs, then restart';

function copyAdvice(isRoot: boolean, obstacles: readonly string[]): string {
  const cost = 'Every volume is a full copy: about 30 MB of disk and many times the time of a clone.';
  if (!isRoot) return `${cost} Run as root, or put the data directory on XFS, btrfs or ZFS`;
  const why = obstacles.length > 0 ? ` (${obstacles.join('; ')})` : '';
  return `${cost} With no volumes yet: apt-get install btrfs-progs, then restart${why}`;
}
