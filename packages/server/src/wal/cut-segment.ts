import { constants } from 'node:fs';
import { copyFile, open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { codeOf } from '../kernel/errors.ts';
import type { Lsn } from './lsn.ts';
import { PAGE_BYTES } from './page-header.ts';
import { switchRecord } from './switch-record.ts';
import { parseSegmentName, SEGMENT_BYTES } from './segment-name.ts';

const CHUNK_BYTES = 1024 ** 2;

export interface Cut {
  readonly from: Lsn;
  readonly end: Lsn;
  /**
   * The start of the record that ends at `end`, where the copy is to say that nothing follows in this segment. Postgres
   * then goes on in the next one; else a promotion copies the segment to its own timeline, all 16 MB, and syncs them.
   */
  readonly lastStart?: Lsn | undefined;
}

/**
 * Copies a WAL segment as it was when WAL ended at `end`: what follows is a hole up to the full size. The copy is synced,
 * with mode 0600; its name is the caller's to make durable, as is its owner.
 * Of what is before `from` only the first page is copied, without which no segment is one: the rest is a hole too.
 * @param sourcePath its base name tells which segment it is
 * @throws Error if the target exists (it stays as it is), the source is too short, or `end` is not in the segment (its
 * first byte excluded, the first byte of the next one included)
 */
export async function cutSegment(sourcePath: string, targetPath: string, { from, end, lastStart }: Cut): Promise<void> {
  const start = parseSegmentName(basename(sourcePath))?.start;
  const bytes = start === undefined ? 0 : Number(end - start);
  if (bytes <= 0 || bytes > SEGMENT_BYTES) throw new Error(`Bug: WAL position ${end} is not in ${sourcePath}`);
  const isShared = await shareBlocks(sourcePath, targetPath);
  const target = await open(targetPath, isShared ? 'r+' : 'wx', 0o600);
  try {
    await target.chmod(0o600);
    if (!isShared) await copyPages(sourcePath, target, { skipTo: Math.max(0, Number(from - (start ?? end))), bytes });
    if ((await target.stat()).size < bytes) throw new Error(`Cannot copy WAL: ${sourcePath} ends before byte ${bytes}`);
    await target.truncate(bytes);
    await target.truncate(SEGMENT_BYTES);
    const closing = lastStart === undefined ? undefined : switchRecord(end, lastStart);
    if (closing) await target.write(closing, 0, closing.length, bytes);
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

async function copyPages(
  sourcePath: string,
  target: FileHandle,
  { skipTo, bytes }: { readonly skipTo: number; readonly bytes: number },
): Promise<void> {
  const source = await open(sourcePath, 'r');
  try {
    const resumeAt = Math.floor(skipTo / PAGE_BYTES) * PAGE_BYTES;
    await copyRange(source, target, { at: 0, end: Math.min(PAGE_BYTES, bytes) });
    await copyRange(source, target, { at: Math.max(PAGE_BYTES, resumeAt), end: bytes });
  } finally {
    await source.close();
  }
}

async function copyRange(
  source: FileHandle,
  target: FileHandle,
  range: { readonly at: number; readonly end: number },
): Promise<void> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let { at } = range; at < range.end;) {
    const { bytesRead } = await source.read(chunk, 0, Math.min(chunk.length, range.end - at), at);
    if (bytesRead === 0) return;
    await target.write(chunk, 0, bytesRead, at);
    at += bytesRead;
  }
}
