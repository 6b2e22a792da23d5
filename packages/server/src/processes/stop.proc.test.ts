import { existsSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { openInstallation } from '../config/installation.ts';
import { findProcess } from '../compute/process-table.ts';
import { makeDataDir, processesOf, StartProcess } from './testing/start-process.ts';

test('a stop that leaves a Postgres running says which, keeps what it needs, and the next start takes it over', async () => {
  const { dataDir, dispose } = await makeDataDir();
  onTestFinished(dispose);
  const first = new StartProcess(dataDir);
  await first.ready();
  const { runDir } = await openInstallation(dataDir);
  const metadata = (await processesOf(dataDir)).metadata ?? 0;
  process.kill(metadata, 'SIGSTOP');
  expect(await first.stop()).toBe(1);
  expect(first.stderr).toContain(`the metadata Postgres still runs (pid ${metadata})`);
  expect(first.stderr).toContain(`What runs needs ${runDir}, so that stays. Start Tenantry on ${dataDir} again`);
  expect(existsSync(runDir)).toBe(true);

  process.kill(metadata, 'SIGCONT');
  await expect.poll(() => findProcess(metadata), { timeout: 20_000 }).toBeUndefined();
  const second = new StartProcess(dataDir);
  await second.ready();
  expect([await second.stop(), second.stderr]).toEqual([0, '']);
  expect(existsSync(runDir)).toBe(false);
}, 300_000);
