import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readFileIfExists, removeUnfinishedFiles, writeFileAtomic } from './atomic-file.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tenantry-atomic-'));
});
afterAll(() => rm(directory, { recursive: true }));

test('a file is replaced whole, is private, and leaves nothing beside it', async () => {
  const path = join(directory, 'file');
  await Promise.all(Array.from({ length: 20 }, (_, index) => writeFileAtomic(path, String(index).repeat(10_000))));
  const text = (await readFileIfExists(path)) ?? '';
  expect(new Set(text.match(/\d\d?/g)).size).toBeLessThanOrEqual(1);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(directory)).toEqual(['file']);
});

test('a write that fails leaves the old content and no temporary file', async () => {
  await expect(writeFileAtomic(join(directory, 'none', 'file'), 'x')).rejects.toThrow('ENOENT');
  expect(await readFileIfExists(join(directory, 'none', 'file'))).toBeUndefined();
});

test('what a killed process left half written is removed, and nothing else', async () => {
  const place = join(directory, 'place');
  await mkdir(join(place, 'folder.0a1b2c3d.tmp'), { recursive: true });
  for (const name of ['directory-0.ndjson', 'directory-0.ndjson.0a1b2c3d.tmp', 'mine.tmp', 'x.0a1b2c3d.tmp.old']) {
    await writeFile(join(place, name), 'x');
  }
  await removeUnfinishedFiles(place);
  expect((await readdir(place)).sort()).toEqual([
    'directory-0.ndjson',
    'folder.0a1b2c3d.tmp',
    'mine.tmp',
    'x.0a1b2c3d.tmp.old',
  ]);
});
