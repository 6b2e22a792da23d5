import type { Lsn } from './lsn.ts';

/** Size of a WAL segment file. Ours are never built with another; `parseControlFile` refuses such a cluster. */
export const SEGMENT_BYTES = 16 * 1024 ** 2;

const SEGMENT_BITS = 24n;
/** Timeline, then the LSN's upper half, then the segment within it: 256 of 16 MB each. */
const SEGMENT_NAME = /^([0-9A-F]{8})([0-9A-F]{8})000000([0-9A-F]{2})$/;
const HISTORY_NAME = /^([0-9A-F]{8})\.history$/;

const hex8 = (value: bigint | number): string => value.toString(16).toUpperCase().padStart(8, '0');

/** A segment of a timeline, by its first byte. */
export interface Segment {
  readonly timeline: number;
  readonly start: Lsn;
}

/** The first byte of the segment that holds the byte at `lsn`. */
export const segmentStart = (lsn: Lsn): Lsn => (lsn >> SEGMENT_BITS) << SEGMENT_BITS;

/** The first byte of the segment after the one that holds the byte at `lsn`. */
export const nextSegmentStart = (lsn: Lsn): Lsn => segmentStart(lsn) + BigInt(SEGMENT_BYTES);

/** The name of the segment file that holds the byte at `lsn`. */
export const segmentName = (timeline: number, lsn: Lsn): string =>
  hex8(timeline) + hex8(lsn >> 32n) + hex8((lsn & 0xffff_ffffn) >> SEGMENT_BITS);

/** Undefined if it is not the name of a segment. */
export function parseSegmentName(name: string): Segment | undefined {
  const [, timeline, high, low] = SEGMENT_NAME.exec(name) ?? [];
  if (timeline === undefined || high === undefined || low === undefined) return undefined;
  return {
    timeline: Number.parseInt(timeline, 16),
    start: (BigInt(`0x${high}`) << 32n) | (BigInt(`0x${low}`) << SEGMENT_BITS),
  };
}

/** The name of the file that says which timelines led to this one. Timeline 1 has none. */
export const historyFileName = (timeline: number): string => `${hex8(timeline)}.history`;

/** The timeline that a history file is about; undefined if it is not the name of one. */
export function parseHistoryFileName(name: string): number | undefined {
  const [, timeline] = HISTORY_NAME.exec(name) ?? [];
  return timeline === undefined ? undefined : Number.parseInt(timeline, 16);
}
