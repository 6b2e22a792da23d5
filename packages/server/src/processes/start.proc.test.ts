import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { findProcess } from '../compute/process-table.ts';
import { makeDataDir, processesOf, StartProcess } from './testing/start-process.ts';

const isHealthy = async (origin: string): Promise<boolean> => (await fetch(`${origin}/healthz`)).status === 200;

test('of two starts at once one works and one is refused; after a kill -9 the next works at once', async () => {
  const { dataDir, dispose } = await makeDataDir();
  onTestFinished(dispose);
  const both = [new StartProcess(dataDir), new StartProcess(dataDir)];
  const refusedAt = await Promise.race(both.map(async ({ exited }, index) => await exited.then(() => index)));
  const [refused, works] = refusedAt === 0 ? both : both.toReversed();
  if (!refused || !works) throw new Error('two were started');
  const origin = await works.ready();
  expect(refused.stderr).toBe(
    `Cannot start: Tenantry runs already on ${dataDir} (pid ${works.child.pid}). Stop that first, or use another data directory\n`,
  );
  expect([refused.child.exitCode, refused.stdout]).toEqual([1, '']);
  await expect.poll(() => isHealthy(origin), { timeout: 30_000 }).toBe(true);

  const before = await processesOf(dataDir);
  const third = new StartProcess(dataDir);
  expect(await third.exited).toBe(1);
  expect(await isHealthy(origin)).toBe(true);
  expect(await processesOf(dataDir)).toEqual(before);

  works.child.kill('SIGKILL');
  await works.exited;
  // What it may have been about when it was killed.
  const halves = ['engines/.copy-a1B2c3', 'gateway/directory-0.ndjson.0a1b2c3d.tmp', 'secrets/admin-key.0a1b2c3d.tmp'];
  for (const name of halves) writeFileSync(join(dataDir, name), 'half');
  const next = new StartProcess(dataDir);
  await next.ready();
  const after = await processesOf(dataDir);
  // The metadata Postgres ran on and was adopted; none of the others did.
  expect(after.metadata).toBe(before.metadata);
  for (const pid of [before.control, before.host, ...before.gateways]) expect(findProcess(pid ?? 0)).toBeUndefined();
  for (const name of halves) expect(existsSync(join(dataDir, name))).toBe(false);
  expect([await next.stop(), next.stderr]).toEqual([0, '']);
  expect(readdirSync(dataDir)).not.toContain('processes.json');
}, 300_000);
