import { link, lstat, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../kernel/atomic-file.ts';
import { codeOf } from '../../kernel/errors.ts';
import { forEachParallel } from '../walk-tree.ts';

/** Segments, and the histories of timelines. Not: `archive_status`, files under construction, `.backup` labels. */
const KEPT = /^(?:[0-9A-F]{24}|[0-9A-F]{8}\.history)$/;

interface ArchivePaths {
  readonly walPath: string;
  readonly historyPath: string;
}

/**
 * Gives every WAL file a second name in the history. A link costs nothing, and one made to the segment that Postgres
 * writes follows what is written. Safe beside a running Postgres: it unlinks WAL, but never writes to an old segment.
 */
export async function archiveWal({ walPath, historyPath }: ArchivePaths): Promise<void> {
  const present = new Set(await readdir(historyPath));
  let isChanged = false;
  await forEachParallel(await readdir(walPath), async (name) => {
    if (!KEPT.test(name)) return;
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
