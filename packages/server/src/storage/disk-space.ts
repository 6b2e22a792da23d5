import type { Stats } from 'node:fs';
import { lstat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, PlatformError } from '../kernel/errors.ts';
import type { StorageBackend } from './backends/backend.ts';
import { forEachParallel, listTree } from './walk-tree.ts';

const GIB = 1024 ** 3;

/** Kept free on the host's filesystem, so that WAL and our own files still have room when tenants have filled the rest. */
export async function reserveBytes(hostDir: string): Promise<number> {
  const { blocks, bsize } = await statfs(hostDir);
  return Math.min(GIB, Math.floor(blocks * bsize * 0.02));
}

/** What a pool leaves of the disk beyond the reserve: WAL and history live beside it. */
export async function walRoomBytes(hostDir: string): Promise<number> {
  const { blocks, bsize } = await statfs(hostDir);
  return Math.min(2 * GIB, Math.floor(blocks * bsize * 0.05));
}

/** Free space that a pool keeps ahead of its tenants: what they can write until the next look. */
export async function headroomBytes(hostDir: string): Promise<number> {
  const { blocks, bsize } = await statfs(hostDir);
  return (await reserveBytes(hostDir)) + Math.min(GIB, Math.floor(blocks * bsize * 0.1));
}

export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

/** @throws PlatformError NO_SPACE if there is no room for new volumes on one of the two filesystems that they need */
export async function assertRoom(hostDir: string, backend: StorageBackend): Promise<void> {
  const reserve = await reserveBytes(hostDir);
  const hasRoom = async (): Promise<boolean> =>
    (await freeBytes(hostDir)) >= reserve && (await freeBytes(backend.root)) >= reserve;
  if (await hasRoom()) return;
  await backend.makeRoom();
  if (!(await hasRoom())) throw noSpace();
}

/** The same for a volume of known size, whose WAL lies on the host's filesystem. @throws PlatformError NO_SPACE */
export async function assertRoomFor(
  hostDir: string,
  backend: StorageBackend,
  { dataBytes, walBytes }: { readonly dataBytes: number; readonly walBytes: number },
): Promise<void> {
  const reserve = await reserveBytes(hostDir);
  const hasRoom = async (): Promise<boolean> =>
    (await freeBytes(hostDir)) >= reserve + walBytes && (await freeBytes(backend.root)) >= reserve + dataBytes;
  if (await hasRoom()) return;
  await backend.makeRoom();
  if (!(await hasRoom())) throw noSpace();
}

export function noSpace(cause?: unknown): PlatformError {
  return new PlatformError('NO_SPACE', 'Cannot create the volume: the disk of this host is full', { cause });
}

/** Bytes of the blocks that the files below a directory hold. */
export async function allocatedBytes(root: string): Promise<number> {
  return sumFiles(root, ({ blocks }) => blocks * 512);
}

/**
 * Bytes of WAL that only one volume holds. Each of its segments has a second name in its history; more names are those of
 * branches that began with it.
 */
export async function exclusiveWalBytes(walPath: string): Promise<number> {
  return sumFiles(walPath, ({ blocks, nlink }) => (nlink <= 2 ? blocks * 512 : 0));
}

/** Sizes of the files below a directory, holes counted. */
export async function apparentBytes(root: string): Promise<number> {
  return sumFiles(root, ({ size }) => size);
}

async function sumFiles(root: string, measure: (file: Stats) => number): Promise<number> {
  let sum = 0;
  await forEachParallel(await listTree(root), async ({ path, kind }) => {
    if (kind !== 'file') return;
    try {
      const file = await lstat(join(root, path));
      sum += measure(file);
    } catch (error) {
      // Postgres removes files while we look.
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  });
  return sum;
}
