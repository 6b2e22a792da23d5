import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diskUsage } from '../support/disk-usage.ts';
import { psql } from '../support/psql.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';
import { BranchApi, type TestBranch } from './branch-api.ts';

const MB = 1024 * 1024;
/** Some 40 MB that compress well. */
const LOAD = `CREATE TABLE t AS SELECT n, repeat(md5(n::text), 20) AS filler FROM generate_series(1, 50000) n`;
const SUM = `SELECT count(*) || ' ' || sum(hashtext(n || filler)) FROM t`;
/** About two and a half seconds. */
const AFTER_DAYS = '0.00003';

let platform: RunningPlatform;
let branches: BranchApi;
let mainId = '';
beforeAll(async () => {
  platform = await startPlatform({ flags: ['--archive-after-days', AFTER_DAYS] });
  const project = await platform.api.createProject({ name: 'archive', history_retention_seconds: 0 });
  mainId = project.branchId;
  branches = new BranchApi(platform.api, project.id);
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

const archives = (): string[] => {
  const path = join(platform.dataDir, 'host', 'archive');
  return existsSync(path) ? readdirSync(path) : [];
};

const untilState = async (branchId: string, state: string): Promise<void> => {
  await waitUntil(
    `branch ${branchId} ${state}`,
    async () => {
      const { current_state: present } = await branches.get(branchId);
      if (present !== state) throw new Error(`it is ${present}`);
      return true;
    },
    60_000,
  );
};

const loadAndSleep = async (branch: TestBranch): Promise<string> => {
  await psql(branch.uri, LOAD);
  const sum = await psql(branch.uri, SUM);
  await platform.api.suspend(branch);
  return sum;
};

describe('archived branches', () => {
  it('give their space back, and are as they were for who connects, branches or deletes', async () => {
    const branch = await branches.create(mainId);
    const sum = await loadAndSleep(branch);
    const awake = (await diskUsage(platform)).bytes;
    await untilState(branch.branchId, 'archived');
    expect(archives()).toHaveLength(1);
    const kept = await waitUntil(
      'the space of the archived branch given back',
      async () => {
        const bytes = awake - (await diskUsage(platform)).bytes;
        if (bytes < 20 * MB) throw new Error(`only ${(bytes / MB).toFixed(1)} MB`);
        return bytes;
      },
      60_000,
    );
    const from = performance.now();
    expect(await psql(branch.uri, SUM)).toBe(sum);
    const ms = Math.round(performance.now() - from);
    console.log(`archived: ${(kept / MB).toFixed(1)} MB given back, first answer after ${ms} ms`);
    await untilState(branch.branchId, 'ready');
    expect(archives()).toEqual([]);

    await platform.api.suspend(branch);
    await untilState(branch.branchId, 'archived');
    const child = await branches.create(branch.branchId);
    expect(await psql(child.uri, SUM)).toBe(sum);
    await untilState(branch.branchId, 'ready');
    await branches.delete(child.branchId);

    await untilState(branch.branchId, 'archived');
    await branches.delete(branch.branchId);
    await waitUntil('no archive left', () => archives().length === 0, 30_000);
  });
});
