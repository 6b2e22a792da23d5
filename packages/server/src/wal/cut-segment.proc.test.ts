import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { cutSegment } from './cut-segment.ts';
import { SEGMENT_BYTES, segmentName } from './segment-name.ts';

const START = 0x300_0000n;

async function segmentIn(): Promise<{ directory: string; path: string; bytes: Buffer }> {
  const directory = await mkdtemp('/tmp/tenantry-cut-');
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, segmentName(1, START));
  const bytes = randomBytes(SEGMENT_BYTES);
  await writeFile(path, bytes);
  return { directory, path, bytes };
}

test.each([8, 8192, 5_000_008, SEGMENT_BYTES])('keeps the first %i bytes, and a hole', async (size) => {
  const { directory, path, bytes } = await segmentIn();
  const target = join(directory, 'cut');
  await cutSegment(path, target, { from: START, end: START + BigInt(size) });
  const expected = Buffer.concat([bytes.subarray(0, size), Buffer.alloc(SEGMENT_BYTES - size)]);
  expect((await readFile(target)).equals(expected)).toBe(true);
  const { mode, blocks } = await stat(target);
  expect(mode & 0o777).toBe(0o600);
  expect(blocks * 512).toBeLessThan(size + 65_536);
  expect((await readFile(path)).equals(bytes)).toBe(true);
});

test('of what is before the first record that is needed only the first page is kept', async () => {
  const { directory, path, bytes } = await segmentIn();
  const target = join(directory, 'cut');
  await cutSegment(path, target, { from: START + 9_000_000n, end: START + 10_000_000n });
  const copy = await readFile(target);
  const page = Math.floor(9_000_000 / 8192) * 8192;
  expect(copy.subarray(0, 8192).equals(bytes.subarray(0, 8192))).toBe(true);
  expect(copy.subarray(page, 10_000_000).equals(bytes.subarray(page, 10_000_000))).toBe(true);
  expect(copy.subarray(10_000_000).every((byte) => byte === 0)).toBe(true);
  expect((await stat(target)).blocks * 512).toBeLessThan(1_200_000);
});

test('refuses a position in another segment, a target that is there, and a source that is too short', async () => {
  const { directory, path, bytes } = await segmentIn();
  for (const end of [START, START - 8n, START + BigInt(SEGMENT_BYTES) + 1n]) {
    await expect(cutSegment(path, join(directory, 'cut'), { from: START, end })).rejects.toThrow('Bug');
  }
  await expect(cutSegment(path, path, { from: START, end: START + 8n })).rejects.toThrow('EEXIST');
  expect((await readFile(path)).equals(bytes)).toBe(true);
  await truncate(path, 100);
  await expect(cutSegment(path, join(directory, 'short'), { from: START, end: START + 200n })).rejects.toThrow(
    'ends before',
  );
});

test.each([
  [5_000_008, true],
  [8192 * 3 - 24, true],
  [8192 * 3 - 16, false],
  [8192 * 3, false],
])('a segment cut at %i is closed by a record that Postgres takes for a switch: %s', async (size, isClosed) => {
  const { directory, path } = await segmentIn();
  const target = join(directory, 'cut');
  const end = START + BigInt(size);
  await cutSegment(path, target, { from: START, end, lastStart: end - 64n });
  const after = (await readFile(target)).subarray(size);
  expect(after.subarray(24).every((byte) => byte === 0)).toBe(true);
  expect(after.readUInt32LE(0)).toBe(isClosed ? 24 : 0);
  expect(after.readBigUInt64LE(8)).toBe(isClosed ? end - 64n : 0n);
});
