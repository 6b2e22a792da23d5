import type { Lsn } from './lsn.ts';
import type { LsnNumber } from './page-header.ts';

/** Facts: src/include/access/{xlogrecord,rmgrlist,xact}.h and catalog/pg_control.h of Postgres 14 to 18. */
export const RECORD_HEADER_BYTES = 24;
export const CRC_AT = 20;
/** How much of a record's beginning is kept while it goes on over pages: enough for the time of a commit. */
export const HEAD_BYTES = 64;

export const RM_XLOG = 0;
const RM_XACT = 1;
export const XLOG_SWITCH = 0x40;

/** A record as the walk sees it. Valid only until the visitor returns. */
export interface WalRecord {
  /** The end of the record before it: where WAL is cut to leave this one out. */
  readonly boundary: Lsn;
  readonly start: Lsn;
  /** Aligned to 8 bytes; for the record that ends a segment early, the segment's end. */
  readonly end: Lsn;
  readonly rmid: number;
  readonly info: number;
  readonly xid: number;
  /** Microseconds since 1970 at which a transaction was committed or aborted; undefined for any other record. */
  readonly xactTimeUs: number | undefined;
}

/** The one record object of a walk, which moves from record to record: making one for each would cost more than the rest. */
export class CurrentRecord implements WalRecord {
  boundaryAt: LsnNumber = 0;
  startAt: LsnNumber = 0;
  endAt: LsnNumber = 0;
  /** Where the record's beginning is: its first `HEAD_BYTES`, or all of it if it is shorter. */
  head: DataView = new DataView(new ArrayBuffer(HEAD_BYTES));
  headAt = 0;

  get boundary(): Lsn {
    return BigInt(this.boundaryAt);
  }
  get start(): Lsn {
    return BigInt(this.startAt);
  }
  get end(): Lsn {
    return BigInt(this.endAt);
  }
  get xid(): number {
    return this.head.getUint32(this.headAt + 4, true);
  }
  get info(): number {
    return this.head.getUint8(this.headAt + 16);
  }
  get rmid(): number {
    return this.head.getUint8(this.headAt + 17);
  }
  get totalBytes(): number {
    return this.head.getUint32(this.headAt, true);
  }
  get isSwitch(): boolean {
    return this.rmid === RM_XLOG && (this.info & 0xf0) === XLOG_SWITCH;
  }
  get xactTimeUs(): number | undefined {
    if (this.rmid !== RM_XACT || !ENDS_TRANSACTION.has(this.info & XACT_OPERATION)) return undefined;
    const end = Math.min(this.totalBytes, HEAD_BYTES);
    const at = findMainData(this.head, this.headAt + RECORD_HEADER_BYTES, this.headAt + end);
    if (at === undefined || at + 8 > this.headAt + end) return undefined;
    return Number(this.head.getBigInt64(at, true)) + POSTGRES_EPOCH_US;
  }
}

const POSTGRES_EPOCH_US = Date.UTC(2000, 0, 1) * 1000;
const XACT_OPERATION = 0x70;
/** Commit, abort, and both of prepared transactions. Each begins with its time; PREPARE itself ends nothing. */
const ENDS_TRANSACTION: ReadonlySet<number> = new Set([0x00, 0x20, 0x30, 0x40]);

const MAIN_DATA_SHORT = 0xff;
const MAIN_DATA_LONG = 0xfe;
const ORIGIN = 0xfd;
const TOPLEVEL_XID = 0xfc;

/**
 * Where the main data begins. Only for records that refer to no block, as those that end a transaction: for the others,
 * undefined.
 */
function findMainData(view: DataView, from: number, end: number): number | undefined {
  for (let at = from; at < end;) {
    const id = view.getUint8(at);
    if (id === MAIN_DATA_SHORT) return at + 2;
    if (id === MAIN_DATA_LONG) return at + 5;
    if (id === ORIGIN) at += 3;
    else if (id === TOPLEVEL_XID) at += 5;
    else return undefined;
  }
  return undefined;
}
