import type { Kysely } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';
import { directoryChanges } from './directory-changes.ts';
import type { DirectoryFeed } from './directory-feed.ts';
import { findDirectoryEntry, getDirectoryEpoch, type DirectoryChange, type DirectoryEntry } from './directory-rows.ts';

/** What a server of the directory stream reads. */
export interface DirectorySource {
  epoch(): Promise<string>;
  changes(sinceSeq: number, signal: AbortSignal): AsyncIterable<DirectoryChange>;
  /** Null: there is no such endpoint. */
  find(endpointId: string): Promise<DirectoryEntry | null>;
}

export function createDirectorySource(deps: {
  readonly metadata: Kysely<Tables>;
  readonly directory: DirectoryFeed;
}): DirectorySource {
  return {
    epoch: () => getDirectoryEpoch(deps.metadata),
    changes: (sinceSeq, signal) => directoryChanges(deps, sinceSeq, signal),
    find: async (endpointId) => (await findDirectoryEntry(deps.metadata, endpointId)) ?? null,
  };
}
