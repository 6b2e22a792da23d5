import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { removeUnfinishedEngines } from './remove-unfinished.ts';

test('half-made copies go, and installations that nobody can be making any more; all else stays', async () => {
  const enginesDir = await mkdtemp(join(tmpdir(), 'tenantry-engines-'));
  onTestFinished(() => rm(enginesDir, { recursive: true }));
  await removeUnfinishedEngines(enginesDir);
  for (const name of ['.copy-a1B2c3/bin', '17.10-17.10.0-3/bin', 'npm/16/node_modules']) {
    await mkdir(join(enginesDir, name), { recursive: true });
  }
  await writeFile(join(enginesDir, '.copy-a1B2c3/bin/postgres'), 'half');
  await writeFile(join(enginesDir, 'passwd.0a1b2c3d.tmp'), 'half');
  await writeFile(join(enginesDir, 'passwd'), 'whole');
  for (const name of ['npm/15.0a1b2c3d.tmp', 'npm/14.0a1b2c3d.tmp']) await mkdir(join(enginesDir, name));
  const anHourAgo = new Date(Date.now() - 3_600_000);
  await utimes(join(enginesDir, 'npm/15.0a1b2c3d.tmp'), anHourAgo, anHourAgo);
  await utimes(join(enginesDir, 'npm/16'), anHourAgo, anHourAgo);
  await removeUnfinishedEngines(enginesDir);
  expect((await readdir(enginesDir)).sort()).toEqual(['17.10-17.10.0-3', 'npm', 'passwd']);
  expect((await readdir(join(enginesDir, 'npm'))).sort()).toEqual(['14.0a1b2c3d.tmp', '16']);
});
