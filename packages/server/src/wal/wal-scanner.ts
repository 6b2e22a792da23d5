import { crc32c } from './crc32c.ts';
import { getLsn, PAGE_BYTES, parsePageHeader, type LsnNumber, type PageHeader } from './page-header.ts';
import { SEGMENT_BYTES } from './segment-name.ts';
import { CRC_AT, CurrentRecord, HEAD_BYTES, RECORD_HEADER_BYTES, type WalRecord } from './wal-record.ts';

/** Called for each record. `stop` ends the walk before this record. */
export type RecordVisitor = (record: WalRecord) => 'stop' | void;

export interface WalPage {
  readonly bytes: Uint8Array;
  /** Over the same bytes. */
  readonly view: DataView;
  /** Where in them the page begins. */
  readonly at: number;
  readonly lsn: LsnNumber;
  /** Of the segment file that it is in. */
  readonly timeline: number;
}

/** `end`: what follows is no valid record. `next-segment`: nothing more is in this one. */
export type ScanStep = 'more' | 'next-segment' | 'stopped' | 'end';

const align8 = (value: number): number => Math.ceil(value / 8) * 8;

/** Takes WAL page by page and tells the records in it. Pure: whoever feeds it reads the files. */
export class WalScanner {
  readonly #checksums: boolean;
  readonly #visit: RecordVisitor;
  readonly #record = new CurrentRecord();
  /** The beginning of a record that goes on over pages. */
  readonly #head = new Uint8Array(HEAD_BYTES);
  readonly #headView = new DataView(this.#head.buffer);
  /** Where the first record is, if inside a page; else the first that begins on a page is looked for. */
  #isSeeking = true;
  #boundary: LsnNumber;
  #lastStart: LsnNumber | undefined;
  /** Of the record that goes on over pages: all its bytes, those still to come (0: there is no such record). */
  #totalBytes = 0;
  #remaining = 0;
  #start: LsnNumber = 0;
  #dataCrc = 0;

  constructor(options: { readonly from: LsnNumber; readonly checksums: boolean; readonly visit: RecordVisitor }) {
    this.#boundary = options.from;
    this.#checksums = options.checksums;
    this.#visit = options.visit;
  }

  /** The end of the last valid record; where the walk began if there was none yet. */
  get boundary(): LsnNumber {
    return this.#boundary;
  }
  get lastStart(): LsnNumber | undefined {
    return this.#lastStart;
  }

  /** The pages must come in order; the first is the one that holds `from`. */
  feed(page: WalPage): ScanStep {
    const header = parsePageHeader(page.view, page.at, page);
    if (!header) return 'end';
    let offset = this.#isSeeking ? this.#seek(page, header) : header.bytes;
    if (header.replacesTorn) this.#remaining = 0;
    if (this.#remaining > 0) {
      if (header.continuedBytes !== this.#remaining) return 'end';
      const bytes = Math.min(this.#remaining, PAGE_BYTES - offset);
      this.#collect(page, offset, bytes);
      if (this.#remaining > 0) return 'more';
      offset = align8(offset + bytes);
      const crc = this.#dataCrc;
      const step = this.#finish({
        bytes: this.#head,
        view: this.#headView,
        at: 0,
        crc,
        start: this.#start,
        end: page.lsn + offset,
      });
      if (step !== 'more') return step;
    } else if (header.continuedBytes > 0 && offset === header.bytes) {
      return 'end';
    }
    return this.#scan(page, offset);
  }

  /** The offset of the first record that begins on the page; its size if there is none. */
  #seek(page: WalPage, header: PageHeader): number {
    const from = this.#boundary - page.lsn;
    if (from > 0) {
      this.#isSeeking = false;
      return Math.max(from, header.bytes);
    }
    const offset = align8(header.bytes + header.continuedBytes);
    if (offset > PAGE_BYTES) return PAGE_BYTES;
    this.#isSeeking = false;
    if (header.continuedBytes > 0) this.#boundary = page.lsn + offset;
    return offset;
  }

  #scan(page: WalPage, from: number): ScanStep {
    for (let offset = from; offset < PAGE_BYTES;) {
      const at = page.at + offset;
      const totalBytes = page.view.getUint32(at, true);
      if (totalBytes < RECORD_HEADER_BYTES) return 'end';
      const start = page.lsn + offset;
      if (totalBytes > PAGE_BYTES - offset) {
        this.#begin(totalBytes, start);
        this.#collect(page, offset, PAGE_BYTES - offset);
        return 'more';
      }
      const crc = this.#checksums ? crc32c(page.bytes, at + RECORD_HEADER_BYTES, at + totalBytes) : 0;
      offset += align8(totalBytes);
      const step = this.#finish({ bytes: page.bytes, view: page.view, at, crc, start, end: page.lsn + offset });
      if (step !== 'more') return step;
    }
    return 'more';
  }

  #begin(totalBytes: number, start: LsnNumber): void {
    this.#totalBytes = totalBytes;
    this.#remaining = totalBytes;
    this.#start = start;
    this.#dataCrc = 0;
  }

  /** Takes the next bytes of the record that goes on over pages. */
  #collect(page: WalPage, offset: number, bytes: number): void {
    const at = page.at + offset;
    const done = this.#totalBytes - this.#remaining;
    if (done < HEAD_BYTES) this.#head.set(page.bytes.subarray(at, at + Math.min(bytes, HEAD_BYTES - done)), done);
    const dataAt = at + Math.max(0, RECORD_HEADER_BYTES - done);
    if (this.#checksums && dataAt < at + bytes) {
      this.#dataCrc = crc32c(page.bytes, dataAt, at + bytes, this.#dataCrc);
    }
    this.#remaining -= bytes;
  }

  /** A record is here whole: checks it and shows it to the visitor. */
  #finish(found: WholeRecord): ScanStep {
    const { view, at, start } = found;
    if (!this.#isValid(found)) return 'end';
    const record = this.#record;
    record.head = view;
    record.headAt = at;
    record.boundaryAt = this.#boundary;
    record.startAt = start;
    record.endAt = record.isSwitch ? start - (start % SEGMENT_BYTES) + SEGMENT_BYTES : found.end;
    if (this.#visit(record) === 'stop') return 'stopped';
    this.#boundary = record.endAt;
    this.#lastStart = start;
    return record.isSwitch ? 'next-segment' : 'more';
  }

  #isValid({ bytes, view, at, crc, start }: WholeRecord): boolean {
    const previous = getLsn(view, at + 8);
    if (this.#lastStart === undefined ? previous >= start : previous !== this.#lastStart) return false;
    return !this.#checksums || crc32c(bytes, at, at + CRC_AT, crc) === view.getUint32(at + CRC_AT, true);
  }
}

interface WholeRecord {
  /** Where its beginning is; `view` is over the same bytes. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly at: number;
  /** Of what follows the header. */
  readonly crc: number;
  readonly start: LsnNumber;
  readonly end: LsnNumber;
}
