import { link, lstat, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../kernel/atomic-file.ts';
import { codeOf } from '../../kernel/errors.ts';
import type { Lsn } from '../../wal/lsn.ts';
import { parseHistoryFileName, parseSegmentName, segmentStart } from '../../wal/segment-name.ts';
import { forEachParallel } from '../walk-tree.ts';

export interface ArchiveOptions {
  readonly walPath: string;
  readonly historyPath: string;
  /** Segments before this one are not history any more, though Postgres may still have them. */
  readonly from: Lsn;
}

/**
 * Gives every segment and every history of a timeline a second name in the history. A link costs nothing, and one made to the segment that Postgres
 * writes follows what is written. Safe beside a running Postgres: it unlinks WAL, but never writes to an old segment.
 */
export async function archiveWal({ walPath, historyPath, from }: ArchiveOptions): Promise<void> {
  const present = new Set(await readdir(historyPath));
  let isChanged = false;
  await forEachParallel(await readdir(walPath), async (name) => {
    const segment = parseSegmentName(name);
    const isKept = segment ? segment.start >= segmentStart(from) : parseHistoryFileName(name) !== undefined;
    if (!isKept) return;
    const isNew = await linkFile(join(walPath, name), join(historyPath, name), present.has(name));
    isChanged ||= isNew;
  });
  if (isChanged) await syncDirectory(historyPath);
}

async function linkFile(from: string, to: string, isPresent: boolean): Promise<boolean> {
  try {
    if (!isPresent) {
      await link(from, to);
      return true;
    }
    // A promotion that a crash cut short leaves files of a timeline that the next promotion makes again.
    if ((await lstat(from)).ino === (await lstat(to)).ino) return false;
    await rm(`${to}.new`, { force: true });
    await link(from, `${to}.new`);
    await rename(`${to}.new`, to);
    return true;
  } catch (error) {
    // Postgres removes what it needs no more, in its own time; what it made since comes with the next look.
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}
