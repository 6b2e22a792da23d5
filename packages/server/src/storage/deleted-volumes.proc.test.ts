import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DeletedVolumes } from './deleted-volumes.ts';

const HOUR_MS = 3_600_000;
let directory = '';
let path = '';
beforeEach(() => {
  directory = mkdtempSync('/tmp/tn-dv-');
  path = join(directory, 'deleted-volumes');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const isRefused = (deleted: DeletedVolumes, volumeId: string): boolean => {
  try {
    deleted.assertNotDeleted(volumeId);
    return false;
  } catch (error) {
    expect(error).toMatchObject({ code: 'CONFLICT' });
    return true;
  }
};

test('what was deleted is known to the next process too, also after a line that a crash has cut short', async () => {
  const deleted = await DeletedVolumes.open(path);
  await Promise.all(['vol-a', 'vol-b', 'vol-a'].map((id) => deleted.add(id)));
  expect(['vol-a', 'vol-b', 'vol-c'].map((id) => isRefused(deleted, id))).toEqual([true, true, false]);
  appendFileSync(path, '\nvol-c 2026-01-3');
  const next = await DeletedVolumes.open(path);
  await next.add('vol-d');
  const last = await DeletedVolumes.open(path);
  const all = ['vol-a', 'vol-b', 'vol-c', 'vol-d'];
  expect(all.map((id) => isRefused(last, id))).toEqual([true, true, false, true]);
});

test('a day later it is forgotten, and the file is small again', async () => {
  const deleted = await DeletedVolumes.open(path);
  await deleted.add('vol-a');
  await deleted.prune(Date.now() + 23 * HOUR_MS);
  expect(isRefused(deleted, 'vol-a')).toBe(true);
  // What is deleted meanwhile is not lost.
  await Promise.all([deleted.prune(Date.now() + 25 * HOUR_MS), deleted.add('vol-b')]);
  const next = await DeletedVolumes.open(path);
  expect(['vol-a', 'vol-b'].map((id) => isRefused(next, id))).toEqual([false, true]);
  expect(readFileSync(path, 'utf8').match(/vol-/g)).toHaveLength(1);
});
