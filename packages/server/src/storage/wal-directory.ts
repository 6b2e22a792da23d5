import { chmod, copyFile, lchown, mkdir, open, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../kernel/atomic-file.ts';
import type { FileOwner } from './volume-store.ts';

/** initdb's default, which every template has. */
const WAL_SEGMENT_BYTES = 16 * 1024 * 1024;
const PAGE_BYTES = 8192;

/** `000000010000000000000004`: timeline, then the number of the segment. */
const SEGMENT_NAME = /^[0-9A-F]{24}$/;

/**
 * Moves the WAL of a template into a directory of its own, its segments cut after their last written page: past it a
 * segment is zeros, which a clone gets back as a hole (`wal_init_zero=off` makes Postgres do the same).
 */
export async function packWal(source: string, target: string): Promise<void> {
  await mkdir(target, { mode: 0o700 });
  for (const entry of await readdir(source, { withFileTypes: true })) {
    if (entry.isDirectory()) await mkdir(join(target, entry.name), { mode: 0o700 });
    else if (SEGMENT_NAME.test(entry.name)) await packSegment(join(source, entry.name), join(target, entry.name));
  }
  await rm(source, { recursive: true });
}

async function packSegment(source: string, target: string): Promise<void> {
  const content = await readFile(source);
  let pages = Math.ceil(content.length / PAGE_BYTES);
  while (pages > 0 && isZero(content.subarray((pages - 1) * PAGE_BYTES, pages * PAGE_BYTES))) pages -= 1;
  await writeFile(target, content.subarray(0, pages * PAGE_BYTES), { mode: 0o600, flag: 'wx' });
}

const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);
const isZero = (page: Buffer): boolean => page.equals(ZERO_PAGE.subarray(0, page.length));

/** Makes the WAL directory of a new volume from a template's packed WAL, durably. What a crash left there goes. */
export async function unpackWal(packed: string, target: string, owner: FileOwner | null): Promise<void> {
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { mode: 0o700 });
  for (const entry of await readdir(packed, { withFileTypes: true })) {
    const path = join(target, entry.name);
    if (entry.isDirectory()) await mkdir(path, { mode: 0o700 });
    else await unpackSegment(join(packed, entry.name), path);
    if (owner) await lchown(path, owner.uid, owner.gid);
  }
  if (owner) await lchown(target, owner.uid, owner.gid);
  await syncDirectory(target);
}

async function unpackSegment(packed: string, target: string): Promise<void> {
  await copyFile(packed, target);
  await chmod(target, 0o600);
  await truncate(target, WAL_SEGMENT_BYTES);
  await using file = await open(target, 'r+');
  await file.sync();
}
