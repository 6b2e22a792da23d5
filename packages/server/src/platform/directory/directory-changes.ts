import type { Kysely } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';
import type { DirectoryFeed } from './directory-feed.ts';
import { listDirectoryChanges, type DirectoryChange } from './directory-rows.ts';

const BATCH_MAX = 500;
/** Changes of this process are heard of at once; the poll finds those of any other. */
const POLL_MS = 2_000;

/**
 * The directory's changes above `sinceSeq` in the order of their commits, then each new one as it comes, until the
 * signal aborts. Of an endpoint that changed often only the last state is given: level, not edge. Ends by throwing if
 * the metadata database fails; the caller begins again from the last number it got.
 */
export async function* directoryChanges(
  { metadata, directory }: { readonly metadata: Kysely<Tables>; readonly directory: DirectoryFeed },
  sinceSeq: number,
  signal: AbortSignal,
): AsyncGenerator<DirectoryChange, void, undefined> {
  let seq = sinceSeq;
  while (!signal.aborted) {
    const news = directory.changed.listen(POLL_MS, signal);
    try {
      const changes = await listDirectoryChanges(metadata, seq, BATCH_MAX);
      for (const change of changes) {
        seq = change.seq;
        yield change;
      }
      if (changes.length === 0) await news.heard;
    } finally {
      news.cancel();
    }
  }
}
