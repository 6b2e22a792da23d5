import type { FileHandle } from 'node:fs/promises';
import type { Lsn } from './lsn.ts';
import { PAGE_BYTES } from './page-header.ts';
import { nextSegmentStart, SEGMENT_BYTES, segmentStart } from './segment-name.ts';
import { WalScanner, type RecordVisitor, type ScanStep } from './wal-scanner.ts';
import { withSegment, type WalSource } from './wal-source.ts';

const CHUNK_BYTES = 1024 ** 2;

export interface WalkOptions {
  /** The end of a record; or the start of a page: the walk then begins with the first record that begins on it or later. */
  readonly from: Lsn;
  /** Verify every record's CRC. Without it, records are known only by the chain of their backward links. */
  readonly checksums: boolean;
  readonly visit: RecordVisitor;
}

export interface WalkEnd {
  /** The end of the last valid record (before the one that the visitor stopped at); `from` if there was none. */
  readonly end: Lsn;
  /** The start of that record; undefined if there was none. */
  readonly lastStart: Lsn | undefined;
  readonly isStopped: boolean;
}

/**
 * Shows each record to the visitor, in order, until it says stop or no valid record follows: zeros, garbage, a torn
 * record, a missing segment. Never fails on what the files hold, so it may read WAL that Postgres is writing.
 */
export async function walkWal(source: WalSource, { from, checksums, visit }: WalkOptions): Promise<WalkEnd> {
  const scanner = new WalScanner({ from: Number(from), checksums, visit });
  const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  let step: ScanStep = 'next-segment';
  for (let at = from; step === 'next-segment'; at = nextSegmentStart(at)) {
    step = (await withSegment(source, at, (file, timeline) => scan(scanner, { file, timeline, at, chunk }))) ?? 'end';
  }
  return {
    end: BigInt(scanner.boundary),
    lastStart: scanner.lastStart === undefined ? undefined : BigInt(scanner.lastStart),
    isStopped: step === 'stopped',
  };
}

interface SegmentScan {
  readonly file: FileHandle;
  readonly timeline: number;
  readonly at: Lsn;
  readonly chunk: Buffer;
}

/** Feeds the segment from the page that holds `at`. */
async function scan(scanner: WalScanner, { file, timeline, at, chunk }: SegmentScan): Promise<ScanStep> {
  const start = Number(segmentStart(at));
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
  let offset = Math.floor((Number(at) - start) / PAGE_BYTES) * PAGE_BYTES;
  while (offset < SEGMENT_BYTES) {
    const wanted = Math.min(chunk.length, SEGMENT_BYTES - offset);
    const bytesRead = await readFully(file, chunk.subarray(0, wanted), offset);
    for (let page = 0; page + PAGE_BYTES <= bytesRead; page += PAGE_BYTES) {
      const step = scanner.feed({ bytes: chunk, view, at: page, lsn: start + offset + page, timeline });
      if (step !== 'more') return step;
    }
    if (bytesRead < wanted) return 'end';
    offset += bytesRead;
  }
  return 'next-segment';
}

async function readFully(file: FileHandle, into: Buffer, position: number): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await file.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}
