import { constants } from 'node:fs';
import { copyFile, open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { codeOf } from '../kernel/errors.ts';
import type { Lsn } from './lsn.ts';
import { parseSegmentName, SEGMENT_BYTES } from './segment-name.ts';

const CHUNK_BYTES = 1024 ** 2;

/**
 * Copies a WAL segment as it was when WAL ended at `end`: what follows is a hole up to the full size. The copy is synced,
 * with mode 0600; its name is the caller's to make durable, as is its owner.
 * @param sourcePath its base name tells which segment it is
 * @throws Error if the target exists (it stays as it is), the source is too short, or `end` is not in the segment (its
 * first byte excluded, the first byte of the next one included)
 */
export async function cutSegment(sourcePath: string, targetPath: string, end: Lsn): Promise<void> {
  const start = parseSegmentName(basename(sourcePath))?.start;
  const bytes = start === undefined ? 0 : Number(end - start);
  if (bytes <= 0 || bytes > SEGMENT_BYTES) throw new Error(`Bug: WAL position ${end} is not in ${sourcePath}`);
  const isShared = await shareBlocks(sourcePath, targetPath);
  const target = await open(targetPath, isShared ? 'r+' : 'wx', 0o600);
  try {
    await target.chmod(0o600);
    if (!isShared) await copyStart(sourcePath, target, bytes);
    if ((await target.stat()).size < bytes) throw new Error(`Cannot copy WAL: ${sourcePath} ends before byte ${bytes}`);
    await target.truncate(bytes);
    await target.truncate(SEGMENT_BYTES);
    await target.sync();
  } finally {
    await target.close();
  }
}

/** False, and nothing made, where the filesystem cannot. */
async function shareBlocks(sourcePath: string, targetPath: string): Promise<boolean> {
  try {
    await copyFile(sourcePath, targetPath, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    return true;
  } catch (error) {
    if (CANNOT_SHARE.has(codeOf(error))) return false;
    throw error;
  }
}

const CANNOT_SHARE: ReadonlySet<string | undefined> = new Set([
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EXDEV',
  'EINVAL',
  'ENOTTY',
]);

async function copyStart(sourcePath: string, target: FileHandle, bytes: number): Promise<void> {
  const source = await open(sourcePath, 'r');
  try {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, bytes));
    for (let at = 0; at < bytes;) {
      const { bytesRead } = await source.read(chunk, 0, Math.min(chunk.length, bytes - at), at);
      if (bytesRead === 0) break;
      await target.write(chunk, 0, bytesRead, at);
      at += bytesRead;
    }
  } finally {
    await source.close();
  }
}
