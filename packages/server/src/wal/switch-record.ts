import { crc32c } from './crc32c.ts';
import type { Lsn } from './lsn.ts';
import { PAGE_BYTES } from './page-header.ts';
import { CRC_AT, RECORD_HEADER_BYTES, RM_XLOG, XLOG_SWITCH } from './wal-record.ts';

/**
 * The record that ends a segment early (XLOG_SWITCH, as `pg_switch_wal()` writes it), to stand at `at`: a header and
 * nothing more. Undefined where the page that holds `at` has no room for it.
 * @param lastStart the start of the record that ends at `at`
 */
export function switchRecord(at: Lsn, lastStart: Lsn): Buffer | undefined {
  const offset = Number(at % BigInt(PAGE_BYTES));
  if (offset === 0 || offset + RECORD_HEADER_BYTES > PAGE_BYTES) return undefined;
  const record = Buffer.alloc(RECORD_HEADER_BYTES);
  record.writeUInt32LE(RECORD_HEADER_BYTES, 0);
  record.writeBigUInt64LE(lastStart, 8);
  record.writeUInt8(XLOG_SWITCH, 16);
  record.writeUInt8(RM_XLOG, 17);
  record.writeUInt32LE(crc32c(record, 0, CRC_AT), CRC_AT);
  return record;
}
