/** CRC-32C (Castagnoli), reflected: what Postgres puts on WAL records and pg_control. */
const POLYNOMIAL = 0x82f6_3b78;

/** Eight tables of 256: the n-th takes a byte that n further bytes follow, so that eight go in one step. */
const TABLES = makeTables();

/** The CRC of `bytes[start, end)`; or, given the CRC of what is before them, of both together. About 1 GB/s. */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, before = 0): number {
  let crc = ~before;
  let i = start;
  for (const last = end - 8; i <= last; i += 8) {
    const low = crc ^ (at(bytes, i) | (at(bytes, i + 1) << 8) | (at(bytes, i + 2) << 16) | (at(bytes, i + 3) << 24));
    crc =
      at(TABLES, 0x700 | (low & 0xff)) ^
      at(TABLES, 0x600 | ((low >>> 8) & 0xff)) ^
      at(TABLES, 0x500 | ((low >>> 16) & 0xff)) ^
      at(TABLES, 0x400 | (low >>> 24)) ^
      at(TABLES, 0x300 | at(bytes, i + 4)) ^
      at(TABLES, 0x200 | at(bytes, i + 5)) ^
      at(TABLES, 0x100 | at(bytes, i + 6)) ^
      at(TABLES, at(bytes, i + 7));
  }
  for (; i < end; i++) crc = at(TABLES, (crc ^ at(bytes, i)) & 0xff) ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Every index here is within bounds; the compiler cannot know it. */
function at(array: Uint8Array | Int32Array, index: number): number {
  return array[index] as number;
}

function makeTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    tables[byte] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const shorter = at(tables, i - 256);
    tables[i] = (shorter >>> 8) ^ at(tables, shorter & 0xff);
  }
  return tables;
}
