import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readFileIfExists } from '../../kernel/atomic-file.ts';
import type { ControlFile } from '../../wal/control-file.ts';
import type { Lsn } from '../../wal/lsn.ts';
import { historyFileName, nextSegmentStart, segmentName, segmentStart } from '../../wal/segment-name.ts';
import { parseTimelineHistory, timelineOfSegment, type TimelineStart } from '../../wal/timelines.ts';
import { walDirectory, type WalSource } from '../../wal/wal-source.ts';

/** WAL as a history holds it, read along one timeline and those that led to it. */
export interface LineageWal extends WalSource {
  readonly historyPath: string;
  readonly timeline: number;
}

/** @throws Error if the file that tells how the timeline came about is missing */
export async function openLineageWal(historyPath: string, timeline: number): Promise<LineageWal> {
  const name = historyFileName(timeline);
  const text = timeline === 1 ? '' : await readFileIfExists(join(historyPath, name));
  if (text === undefined) throw new Error(`Cannot read the history of a volume: ${name} is missing`);
  return walOf(historyPath, parseTimelineHistory(text, timeline));
}

/** The same WAL as far as the timeline on which `lsn` was reached: the older one, where one was left just there. */
export function walUpTo({ historyPath, timelines }: LineageWal, lsn: Lsn): LineageWal {
  return walOf(
    historyPath,
    timelines.filter(({ from }, index) => index === 0 || from < lsn),
  );
}

function walOf(historyPath: string, timelines: readonly TimelineStart[]): LineageWal {
  const { timeline = 1 } = timelines.at(-1) ?? {};
  return { ...walDirectory(historyPath, timelines), historyPath, timeline };
}

/** The timeline that a volume is on. A promotion shows in the second field before its first checkpoint. */
export const timelineOf = ({ timeline, minRecoveryPointTimeline }: ControlFile): number =>
  Math.max(timeline, minRecoveryPointTimeline);

/** The segments that hold WAL from `from` up to `to`, oldest first. Empty or not: `to` at a segment's start needs none of it. */
export function segmentsBetween({ timelines }: WalSource, from: Lsn, to: Lsn): readonly string[] {
  const names: string[] = [];
  for (let at = segmentStart(from); at < to; at = nextSegmentStart(at)) {
    names.push(segmentName(timelineOfSegment(timelines, at), at));
  }
  return names;
}

/** Is all WAL from `from` up to `to` here? A host that was away for long may have missed some. */
export function isWhole(wal: LineageWal, from: Lsn, to: Lsn): boolean {
  return segmentsBetween(wal, from, to).every((name) => existsSync(join(wal.historyPath, name)));
}
