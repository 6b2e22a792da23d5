import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../kernel/errors.ts';
import type { Lsn } from './lsn.ts';
import { segmentName } from './segment-name.ts';
import { timelineOfSegment, type TimelineStart } from './timelines.ts';

/** The WAL of one lineage: segment files, and which timeline goes from where. */
export interface WalSource {
  /** Oldest first. */
  readonly timelines: readonly TimelineStart[];
  /** Opens a segment by name for reading; undefined if there is none. The caller closes it. */
  open(name: string): Promise<FileHandle | undefined>;
}

/** WAL from the segment files in a directory. */
export function walDirectory(directory: string, timelines: readonly TimelineStart[]): WalSource {
  return {
    timelines,
    open: async (name) => {
      try {
        return await open(join(directory, name), 'r');
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return undefined;
        throw error;
      }
    },
  };
}

/** Opens the segment that holds the byte at `lsn`, for `use`; undefined if it is missing. */
export async function withSegment<T>(
  source: WalSource,
  lsn: Lsn,
  use: (file: FileHandle, timeline: number) => Promise<T>,
): Promise<T | undefined> {
  const timeline = timelineOfSegment(source.timelines, lsn);
  const file = await source.open(segmentName(timeline, lsn));
  if (!file) return undefined;
  try {
    return await use(file, timeline);
  } finally {
    await file.close();
  }
}
