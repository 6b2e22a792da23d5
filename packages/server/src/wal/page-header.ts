import { SEGMENT_BYTES } from './segment-name.ts';

/** Facts: src/include/access/xlog_internal.h of Postgres 14 to 18. */
export const PAGE_BYTES = 8192;

const LONG_HEADER_BYTES = 40;
const SHORT_HEADER_BYTES = 24;
/** Postgres 14, 15, 16, 17, 18. */
const MAGICS: ReadonlySet<number> = new Set([0xd10d, 0xd110, 0xd113, 0xd116, 0xd118]);

const CONTINUES = 0x1;
const LONG = 0x2;
const REPLACES = 0x8;
const KNOWN_FLAGS = 0xf;

/** An LSN as a number: exact up to 8 PB of WAL, and several times as fast as a bigint. Only inside the walk of records. */
export type LsnNumber = number;

export interface PageHeader {
  /** Where records go on, from the page's first byte. */
  readonly bytes: number;
  /** Bytes of the record that began on an earlier page, from this page on; 0 if none goes on here. */
  readonly continuedBytes: number;
  /** A record that was torn by a crash ends before this page; what is here replaces the rest of it. */
  readonly replacesTorn: boolean;
}

/** The header of the page at `at`, undefined unless it is a valid one for this place on this timeline or an older one. */
export function parsePageHeader(
  view: DataView,
  at: number,
  page: { readonly lsn: LsnNumber; readonly timeline: number },
): PageHeader | undefined {
  const flags = view.getUint16(at + 2, true);
  const timeline = view.getUint32(at + 4, true);
  const isLong = page.lsn % SEGMENT_BYTES === 0;
  if (
    !MAGICS.has(view.getUint16(at, true)) ||
    (flags & ~KNOWN_FLAGS) !== 0 ||
    timeline === 0 ||
    timeline > page.timeline ||
    getLsn(view, at + 8) !== page.lsn ||
    ((flags & LONG) !== 0) !== isLong
  ) {
    return undefined;
  }
  if (isLong && (view.getUint32(at + 32, true) !== SEGMENT_BYTES || view.getUint32(at + 36, true) !== PAGE_BYTES)) {
    return undefined;
  }
  return {
    bytes: isLong ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES,
    continuedBytes: (flags & CONTINUES) === 0 ? 0 : view.getUint32(at + 16, true),
    replacesTorn: (flags & REPLACES) !== 0,
  };
}

export const getLsn = (view: DataView, at: number): LsnNumber =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
