import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diskUsage } from '../support/disk-usage.ts';
import { psql } from '../support/psql.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';
import { BranchApi } from './branch-api.ts';

const MB = 1024 * 1024;
const LOADED_MB = 60;
/** About a kilobyte a row, which does not compress. */
const rowsOf = (megabytes: number): string =>
  `SELECT i, string_agg(md5(random()::text), '') AS filler FROM generate_series(1, ${megabytes * 1024}) i,
   generate_series(1, 30) part GROUP BY i`;

let platform: RunningPlatform;
beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

const used = async (): Promise<number> => (await diskUsage(platform)).bytes;

describe('the disk space of branches', () => {
  it('is little for a fresh one, and what it wrote is given back when it is deleted', async () => {
    const { api } = platform;
    const project = await api.createProject({ name: 'space' });
    // Frozen, so that the first to read a page does not write it.
    await psql(project.uri, `CREATE TABLE t AS ${rowsOf(LOADED_MB)};\nVACUUM (FREEZE) t`);
    await api.suspend(project);
    const branches = new BranchApi(api, project.id);
    const isShared = (await diskUsage(platform)).isPool;

    const before = await used();
    const branch = await branches.create(project.branchId);
    expect(await psql(branch.uri, 'SELECT count(*) FROM t')).toBe(String(LOADED_MB * 1024));
    await api.suspend(branch);
    const fresh = (await used()) - before;
    console.log(`a fresh branch of ${LOADED_MB} MB takes ${(fresh / MB).toFixed(1)} MB, asleep again`);
    if (isShared) expect(fresh).toBeLessThan(8 * MB);

    await psql(branch.uri, `INSERT INTO t ${rowsOf(LOADED_MB)}`);
    await api.suspend(branch);
    const grown = (await used()) - before;
    expect(grown, 'what the branch wrote').toBeGreaterThan(LOADED_MB * MB);
    await branches.delete(branch.branchId);
    // Files of a deleted volume are freed in the background, and a sleeping parent may grow by its bookkeeping.
    await waitUntil(
      'the space of the deleted branch given back',
      async () => {
        const left = (await used()) - before;
        if (left > 4 * MB) throw new Error(`${(left / MB).toFixed(1)} MB are still taken`);
        return true;
      },
      60_000,
    );
    expect(await psql(project.uri, 'SELECT count(*) FROM t')).toBe(String(LOADED_MB * 1024));
  });
});
