import { must } from '../kernel/assert.ts';
import { parseLsn, type Lsn } from './lsn.ts';
import { segmentStart } from './segment-name.ts';

/** A timeline of a lineage, and the LSN from which it goes on. The oldest one begins at 0. */
export interface TimelineStart {
  readonly timeline: number;
  readonly from: Lsn;
}

const HISTORY_LINE = /^\s*(\d+)\s+([0-9A-F]+\/[0-9A-F]+)/i;

/**
 * The timelines that led to `timeline`, oldest first, from the text of its history file (`parent<TAB>LSN at which it
 * was left<TAB>why` on each line; empty for timeline 1).
 * @throws Error if the text is not a history
 */
export function parseTimelineHistory(text: string, timeline: number): readonly TimelineStart[] {
  const starts: TimelineStart[] = [];
  let from = 0n;
  for (const line of text.split('\n').filter((line) => /^\s*[^#\s]/.test(line))) {
    const [, parent, left] = HISTORY_LINE.exec(line) ?? [];
    const lsn = left === undefined ? undefined : parseLsn(left);
    if (lsn === undefined) throw new Error(`Cannot read the history of timeline ${timeline}: "${line}"`);
    starts.push({ timeline: Number(parent), from });
    from = lsn;
  }
  return [...starts, { timeline, from }];
}

/**
 * The timeline whose file holds the segment of `lsn`: the newest that begins in it or before it, since a new timeline's
 * first file repeats what the old one has before the switch.
 */
export function timelineOfSegment(timelines: readonly TimelineStart[], lsn: Lsn): number {
  const segment = segmentStart(lsn);
  const found = timelines.findLast(({ from }) => segmentStart(from) <= segment);
  return must(found, 'no timeline is given for WAL').timeline;
}

/**
 * The timeline of what ends at `end`: what pg_control must say of its minimum recovery point. At the very LSN of a switch
 * that is still the old one.
 */
export function timelineOfEnd(timelines: readonly TimelineStart[], end: Lsn): number {
  const found = timelines.findLast(({ from }) => from < end);
  return must(found, 'no timeline is given for WAL').timeline;
}
