import { lstatSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../kernel/errors.ts';
import type { Lsn } from '../../wal/lsn.ts';
import { parseSegmentName } from '../../wal/segment-name.ts';
import { type ArchiveOptions, archiveWal } from './archive-wal.ts';

/** A directory that was changed this lately may change again within the same tick of its clock. */
const SETTLED_MS = 1000;

/** What was seen of a WAL directory. */
export interface WalLook {
  readonly mtimeMs: number;
  /** Newest first: the last one may have been made ahead of its use. */
  readonly newest: readonly { readonly path: string; readonly start: Lsn }[];
}

interface LookOptions extends ArchiveOptions {
  readonly last: WalLook | undefined;
}

/**
 * Archives what is new since the last look: one `stat` where nothing is. That one is synchronous: it is made twice a second
 * for each running compute, and the way by a thread costs far more than the call.
 */
export async function lookAtWal({ last, ...archive }: LookOptions): Promise<WalLook> {
  const { walPath } = archive;
  const { mtimeMs } = statSync(walPath);
  if (last && last.mtimeMs === mtimeMs) return last;
  await archiveWal(archive);
  const segments = (await readdir(walPath)).flatMap((name) => {
    const segment = parseSegmentName(name);
    return segment ? [{ path: join(walPath, name), start: segment.start }] : [];
  });
  const newest = segments.sort((a, b) => (a.start < b.start ? 1 : -1)).slice(0, 3);
  return { mtimeMs: Date.now() - mtimeMs < SETTLED_MS ? Number.NaN : mtimeMs, newest };
}

/** About where WAL ends. Segments are sparse when they are new, so their blocks tell how far they are written. */
export function aboutEndOfWal({ newest }: WalLook): Lsn | undefined {
  for (const { path, start } of newest) {
    try {
      const { blocks } = lstatSync(path);
      if (blocks > 8) return start + BigInt(blocks * 512);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }
  return newest.at(-1)?.start;
}
