import { stat, statfs } from 'node:fs/promises';
import { PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { freeBytes, reserveBytes } from './disk-space.ts';
import {
  findMountedPool,
  findPool,
  growPool,
  openPool,
  type PoolFilesystem,
  poolPaths,
  readPoolLimit,
  writePoolLimit,
} from './pool.ts';

/** How much room the volumes of a machine have, in bytes. */
export interface StorageSpace {
  /** Of the filesystem that volumes live on: the pool's, if there is one. */
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** What is free on the host's own filesystem, where WAL, history and the pool's image live. */
  readonly diskFreeBytes: number;
  /** Less than the reserve is free there: nothing new is made. */
  readonly isDiskFull: boolean;
  readonly pool: {
    readonly filesystem: PoolFilesystem;
    readonly imagePath: string;
    /** What the image takes of the disk. */
    readonly allocatedBytes: number;
    /** How large it may grow; null: as the disk allows. */
    readonly bytesMax: number | null;
  } | null;
}

export async function readStorageSpace(hostDir: string): Promise<StorageSpace> {
  const pool = await findMountedPool(hostDir);
  const { blocks, bavail, bsize } = await statfs(pool?.path ?? hostDir);
  const diskFreeBytes = await freeBytes(hostDir);
  const isDiskFull = diskFreeBytes < (await reserveBytes(hostDir));
  const space = { totalBytes: blocks * bsize, freeBytes: bavail * bsize, diskFreeBytes, isDiskFull };
  if (!pool) return { ...space, pool: null };
  const { filesystem, imagePath } = pool;
  const allocatedBytes = (await stat(imagePath)).blocks * 512;
  return { ...space, pool: { filesystem, imagePath, allocatedBytes, bytesMax: await readPoolLimit(hostDir) } };
}

/**
 * Grows the pool now, and says how far it may grow by itself from now on. Mounts it if it is not mounted.
 * @param bytesMax null: to all that its disk has to give
 * @throws PlatformError INVALID_REQUEST if there is no pool, or if it is larger already
 */
export async function growStorage(hostDir: string, bytesMax: number | null, log: Log): Promise<StorageSpace> {
  if (!(await findPool(hostDir))) {
    throw new PlatformError('INVALID_REQUEST', 'Cannot grow the storage: it has no pool, and grows with its disk');
  }
  const { size } = await stat(poolPaths(hostDir).imagePath);
  if (bytesMax !== null && bytesMax < size) {
    throw new PlatformError(
      'INVALID_REQUEST',
      `Cannot grow the storage to ${bytesMax} bytes: the pool has ${size} already, and does not shrink by itself`,
    );
  }
  if (bytesMax !== (await readPoolLimit(hostDir))) await writePoolLimit(hostDir, bytesMax);
  await growPool(hostDir, await openPool(hostDir, log), { log, isAsked: true });
  return await readStorageSpace(hostDir);
}
