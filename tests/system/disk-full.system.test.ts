import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expectNothingLeft, inventory } from '../branches/leftovers.ts';
import type { ApiFailure, TestProject } from '../support/api.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { smallDisk } from '../support/small-disk.ts';
import { startPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';

const IS_ROOT = process.getuid?.() === 0;
const MB = 1024 * 1024;

describe.skipIf(!IS_ROOT)('a full disk (root only: it mounts a small one)', () => {
  it.each([
    { storage: 'auto', diskMb: 1600 },
    { storage: 'copy', diskMb: 700 },
  ] as const)(
    'refuses a project clearly, keeps nothing of it, and serves again with space ($storage)',
    async (size) => {
      await using disk = await smallDisk(size.diskMb);
      await using platform = await startPlatform({ storage: size.storage, dataDir: join(disk.path, 'data') });
      const { api } = platform;
      const first = await api.createProject({ name: 'first' });
      await psql(first.uri, 'CREATE TABLE t AS SELECT 42 AS n');
      await api.suspend(first);
      const before = await inventory(platform);

      // Room for the metadata and the log, but for no second volume.
      disk.leave(12 * MB);
      const refused = await api.request<ApiFailure>('POST', '/projects', { project: { name: 'second' } });
      expect(refused).toMatchObject({ status: 507, body: { code: 'NO_SPACE' } });
      expect((await api.projects()).map((p) => p.name)).toEqual(['first']);
      await expectNothingLeft(platform, before);
      await waitUntil('the space of the half-made volume given back', () => disk.freeBytes() > 9 * MB);

      disk.leave(Number.POSITIVE_INFINITY);
      const third = await api.createProject({ name: 'third' });
      expect(await psql(third.uri, 'SELECT 1')).toBe('1');
      expect(await psql(first.uri, 'SELECT n FROM t')).toBe('42');
      expect((await api.projects()).map((p) => p.name).sort()).toEqual(['first', 'third']);
    },
  );

  it('tells a client whose compute cannot write, and recovers', async () => {
    await using disk = await smallDisk(700);
    await using platform = await startPlatform({ storage: 'copy', dataDir: join(disk.path, 'data') });
    const project: TestProject = await platform.api.createProject({ name: 'writer' });
    await psql(project.uri, 'CREATE TABLE t (x text)');
    disk.leave(40 * MB);
    const fill = `INSERT INTO t SELECT repeat(md5(i::text), 100) FROM generate_series(1, 200000) i`;
    const { code, stderr } = await tryPsql(project.uri, fill);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/53100|No space left on device|57P0\d|server closed the connection/);
    disk.leave(Number.POSITIVE_INFINITY);
    await platform.untilHealthy();
    await waitUntil(
      'writes again',
      async () => (await psql(project.uri, `INSERT INTO t VALUES ('x') RETURNING x`)) === 'x',
      30_000,
    );
  });
});
