import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { psql, tryPsql } from '../support/psql.ts';
import { smallDisk } from '../support/small-disk.ts';
import { startPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';
import { BranchApi, HEAD } from './branch-api.ts';
import { expectNothingLeft, inventory } from './leftovers.ts';

const IS_ROOT = process.getuid?.() === 0;
const MB = 1024 * 1024;
const IS_FULL_PROOF = process.env['TENANTRY_BRANCH_ROUNDS'] !== undefined;

/** Backends, each on a disk of the kind that it is for; the default one of a root install in every run. */
const CASES = [
  { storage: 'auto', filesystem: 'ext4' },
  ...(IS_FULL_PROOF
    ? ([
        { storage: 'copy', filesystem: 'ext4' },
        { storage: 'reflink', filesystem: 'xfs' },
      ] as const)
    : []),
] as const;

const SCHEMA = `
  CREATE TABLE kept AS SELECT i FROM generate_series(1, 1000) i;
  CREATE TABLE fill (x text);
  ALTER TABLE fill ALTER x SET STORAGE EXTERNAL`;
/** 12 MB, which stay 12 MB. */
const FILL = `INSERT INTO fill SELECT repeat(md5(random()::text), 100) FROM generate_series(1, 4000)`;

describe.skipIf(!IS_ROOT).each(CASES)('a disk that is full ($storage on $filesystem)', ({ storage, filesystem }) => {
  it('refuses writes, history and branches clearly, corrupts nothing, and is well again with space', async () => {
    await using disk = await smallDisk(1600, filesystem);
    await using platform = await startPlatform({ storage, dataDir: join(disk.path, 'data') });
    const { api } = platform;
    const project = await api.createProject({ name: 'full' });
    const branches = new BranchApi(api, project.id);
    await psql(project.uri, SCHEMA);
    const before = await branches.create(project.branchId, HEAD, 'before');
    expect(await psql(before.uri, 'SELECT count(*) FROM kept')).toBe('1000');

    // Writes, and the WAL that the history keeps of them, until nothing goes any more.
    disk.leave(120 * MB);
    let failure: string | undefined;
    let inserted = 0;
    for (; failure === undefined && inserted < 400; inserted++) {
      const { code, stderr } = await tryPsql(project.uri, FILL);
      if (code !== 0) failure = stderr;
    }
    console.log(`after ${inserted} inserts: ${failure?.trim().split('\n')[0]}`);
    expect(failure).toMatch(/53100|No space left on device|57P0\d|server closed the connection|NO_SPACE/);

    disk.leave(2 * MB);
    const things = await inventory(platform);
    const names = (await branches.list()).map((b) => b.name).sort();
    const refused = await branches.tryCreate(project.branchId, HEAD, 'refused');
    expect(refused).toMatchObject({ status: 507, body: { code: 'NO_SPACE' } });
    expect((await branches.list()).map((b) => b.name).sort()).toEqual(names);
    disk.leave(Number.POSITIVE_INFINITY);
    await expectNothingLeft(platform, things);

    await platform.untilHealthy();
    await waitUntil('writes again', async () => (await psql(project.uri, FILL)) === '', 60_000);
    expect(await psql(project.uri, 'SELECT count(*) FROM kept')).toBe('1000');
    expect(Number(await psql(project.uri, 'SELECT count(*) % 4000 FROM fill')), 'inserts whole or absent').toBe(0);
    expect(await psql(before.uri, 'SELECT count(*) FROM kept')).toBe('1000');
    const after = await branches.create(project.branchId, HEAD, 'after');
    expect(await psql(after.uri, 'SELECT count(*) FROM fill')).toBe(
      await psql(project.uri, 'SELECT count(*) FROM fill'),
    );
    await psql(after.uri, FILL);
  });
});
