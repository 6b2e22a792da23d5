import { constants } from 'node:fs';
import { chmod, copyFile, lchown, lstat, mkdir, open, readlink, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../kernel/errors.ts';
import type { FileOwner } from '../volume-store.ts';
import { forEachParallel, listTree, type TreeEntry } from '../walk-tree.ts';

export interface CopyTreeOptions {
  readonly owner: FileOwner | null;
  /** Share blocks with the source, or fail. */
  readonly isReflink: boolean;
  /** Postgres writes to the source: what it removes meanwhile is left out. */
  readonly isRunning: boolean;
}

/** Copies what is below `source` into the new directory `target`: modes, links and holes too, owner as told. */
export async function copyTree(source: string, target: string, options: CopyTreeOptions): Promise<void> {
  const { owner, isReflink, isRunning } = options;
  const entries = [{ path: '', kind: 'directory' } as TreeEntry, ...(await listTree(source, isRunning))];
  const directories = entries.filter((entry) => entry.kind === 'directory');
  for (const { path } of directories) await mkdir(join(target, path), { mode: 0o700 });
  const copyData = isReflink ? reflinkFile : copyFileSparse;
  await forEachParallel(entries, async ({ path, kind }) => {
    const from = join(source, path);
    const to = join(target, path);
    try {
      if (kind === 'file') await copyData(from, to);
      if (kind === 'link') await symlink(await readlink(from), to);
      if (kind === 'directory') await chmod(to, (await lstat(from)).mode & 0o7777);
    } catch (error) {
      if (isRunning && codeOf(error) === 'ENOENT') return;
      throw error;
    }
    if (owner && kind !== 'other') await lchown(to, owner.uid, owner.gid);
  });
}

async function reflinkFile(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE);
}

const CHUNK_BYTES = 256 * 1024;
const BLOCK_BYTES = 4096;
const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

async function copyFileSparse(from: string, to: string): Promise<void> {
  const { size, blocks, mode } = await lstat(from);
  if (blocks * 512 >= size) return copyFile(from, to);
  await using source = await open(from, 'r');
  await using target = await open(to, 'wx', mode & 0o7777);
  await target.truncate(size);
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let at = 0; at < size; at += CHUNK_BYTES) {
    const { bytesRead } = await source.read(chunk, 0, CHUNK_BYTES, at);
    for (let start = 0; start < bytesRead; start += BLOCK_BYTES) {
      const block = chunk.subarray(start, Math.min(start + BLOCK_BYTES, bytesRead));
      if (!block.equals(ZERO_BLOCK.subarray(0, block.length))) await target.write(block, 0, block.length, at + start);
    }
  }
}
