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
 * Costs a look at the directories, and at the few files of which Postgres may have made another since.
 */
export async function archiveWal({ walPath, historyPath, from }: ArchiveOptions): Promise<void> {
  const present = new Set(await readdir(historyPath));
  const names = await readdir(walPath);
  const differing = mayDiffer(names, present);
  let isChanged = false;
  await forEachParallel(names, async (name) => {
    const segment = parseSegmentName(name);
    const isKept = segment ? segment.start >= segmentStart(from) : parseHistoryFileName(name) !== undefined;
    if (!isKept || (present.has(name) && !differing.has(name))) return;
    const isNew = await linkFile(join(walPath, name), join(historyPath, name), present.has(name));
    isChanged ||= isNew;
  });
  if (isChanged) await syncDirectory(historyPath);
}

/**
 * Names behind which the history may have another file: a promotion that a crash cut short leaves the history of a
 * timeline, and the segments that it began with (not more than two), which the next promotion makes again; and the last
 * segment of a clone is a cut copy of its source's.
 */
function mayDiffer(names: readonly string[], present: ReadonlySet<string>): ReadonlySet<string> {
  const found = new Set<string>();
  const begun = new Map<number, number>();
  for (const name of names.toSorted()) {
    const segment = parseSegmentName(name);
    const before = segment ? (begun.get(segment.timeline) ?? 0) : 0;
    if (segment) begun.set(segment.timeline, before + 1);
    if (before < 2) found.add(name);
  }
  const newest = [...present].filter((name) => parseSegmentName(name)).toSorted((a, b) => (a < b ? 1 : -1))[0];
  if (newest !== undefined) found.add(newest);
  return found;
}

async function linkFile(from: string, to: string, isPresent: boolean): Promise<boolean> {
  try {
    if (!isPresent) {
      await link(from, to);
      return true;
    }
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
