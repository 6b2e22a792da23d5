import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BranchApi, HEAD, type TestBranch } from '../branches/branch-api.ts';
import { inventory } from '../branches/leftovers.ts';
import type { ApiFailure, Operation, TestProject } from '../support/api.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';

let platform: RunningPlatform;

beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

interface SnapshotAnswer {
  readonly snapshot: { readonly id: string; readonly lsn: string };
  readonly operations: readonly Operation[];
}

interface RestoredAnswer {
  readonly branch: { readonly id: string; readonly name: string };
  readonly operations: readonly Operation[];
}

const LIST = 'SELECT string_agg(id::text, $$,$$ ORDER BY id) FROM marks';

async function newProject(): Promise<{ readonly project: TestProject; readonly branches: BranchApi }> {
  const project = await platform.api.createProject();
  await psql(project.uri, 'CREATE TABLE marks (id int PRIMARY KEY)');
  return { project, branches: new BranchApi(platform.api, project.id) };
}

const mark = (uri: string, id: number): Promise<string> => psql(uri, `INSERT INTO marks VALUES (${id})`);

/** Directories of volumes, in order. */
const volumesOf = async (of: RunningPlatform): Promise<readonly string[]> =>
  [...(await inventory(of))].filter((path) => /\/volumes\/[^/]+$/.test(path)).sort();

/** As exact as Postgres' own clock: what was committed before is in, by a microsecond if need be. */
const momentOf = async (uri: string): Promise<string> =>
  await psql(uri, `SELECT to_char(clock_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`);

describe('restore', () => {
  it('brings a branch back to a time under its connection string, and undoes that', async () => {
    const { project, branches } = await newProject();
    const { uri, branchId } = project;
    await mark(uri, 1);
    const time = await momentOf(uri);
    await mark(uri, 2);
    const open = tryPsql(uri, 'SELECT pg_sleep(50)');
    const SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    await waitUntil('a client in a query', async () => (await psql(uri, SLEEPING)) === '1', 20_000);

    const branch = await branches.restore(branchId, branchId, { kind: 'time', time }, 'before');
    expect(branch).toMatchObject({ id: branchId, name: 'main' });
    expect((await open).code).not.toBe(0);
    expect(await psql(uri, LIST)).toBe('1');
    await mark(uri, 3);

    const backup = (await branches.list()).find(({ name }) => name === 'before');
    expect(branch.parent_id).toBe(backup?.id);
    const { uri: backupUri } = await branches.open(backup?.id ?? '');
    expect(await psql(backupUri, LIST)).toBe('1,2');

    await branches.restore(branchId, backup?.id ?? '', HEAD, 'restored');
    expect(await psql(uri, LIST)).toBe('1,2');
    const restored = (await branches.list()).find(({ name }) => name === 'restored');
    expect(await psql((await branches.open(restored?.id ?? '')).uri, LIST)).toBe('1,3');
  });

  it('restores to an LSN while clients write, and a second time to before the first', async () => {
    const { project, branches } = await newProject();
    const { uri, branchId } = project;
    await mark(uri, 1);
    const first = await psql(uri, 'SELECT pg_current_wal_insert_lsn()');
    await mark(uri, 2);
    const second = await psql(uri, 'SELECT pg_current_wal_insert_lsn()');
    const stop = new AbortController();
    const writer = (async () => {
      for (let id = 100; !stop.signal.aborted; id += 1) await tryPsql(uri, `INSERT INTO marks VALUES (${id})`);
    })();
    await branches.restore(branchId, branchId, { kind: 'lsn', lsn: second }, 'a');
    stop.abort();
    await writer;
    expect(await psql(uri, 'SELECT string_agg(id::text, $$,$$ ORDER BY id) FROM marks WHERE id < 100')).toBe('1,2');
    await branches.restore(branchId, branchId, { kind: 'lsn', lsn: first }, 'b');
    expect(await psql(uri, LIST)).toBe('1');
  });

  it('resets a branch from its parent, and leaves nothing of what it was', async () => {
    const { project, branches } = await newProject();
    await mark(project.uri, 1);
    const before = await volumesOf(platform);
    const child: TestBranch = await branches.create(project.branchId, HEAD);
    expect(await volumesOf(platform)).toHaveLength(before.length + 1);
    await mark(child.uri, 2);
    await mark(project.uri, 3);
    const branch = await branches.restore(child.branchId, project.branchId, HEAD);
    expect(branch).toMatchObject({ id: child.branchId, parent_id: project.branchId });
    expect(await psql(child.uri, LIST)).toBe('1,3');
    expect(await psql(project.uri, LIST)).toBe('1,3');
    expect(await volumesOf(platform)).toHaveLength(before.length + 1);
    await branches.delete(child.branchId);
    await waitUntil('its volume gone', async () => (await volumesOf(platform)).length === before.length, 20_000);
    expect(await volumesOf(platform)).toEqual(before);
  });

  it('keeps a password that was changed after the moment', async () => {
    const { project, branches } = await newProject();
    const { uri, branchId } = project;
    await mark(uri, 1);
    const lsn = await psql(uri, 'SELECT pg_current_wal_insert_lsn()');
    const path = `/projects/${project.id}/branches/${branchId}/roles/neondb_owner/reset_password`;
    const { role } = await platform.api.call<{ role: { password: string } }>('POST', path);
    await platform.api.settled(project.id);
    await branches.restore(branchId, branchId, { kind: 'lsn', lsn }, 'before');
    expect(await psql(uri.replace(project.password, role.password), LIST)).toBe('1');
    expect((await tryPsql(uri, LIST)).stderr).toContain('password authentication failed');
  });

  it('refuses a moment that is not kept, and changes nothing', async () => {
    const { project, branches } = await newProject();
    const { uri, branchId } = project;
    await mark(uri, 1);
    for (const time of ['2020-01-01T00:00:00Z', new Date(Date.now() + 3_600_000).toISOString()]) {
      const { status, body } = await branches.tryRestore(branchId, branchId, { kind: 'time', time }, 'before');
      expect([status, (body as ApiFailure).code]).toEqual([400, 'MOMENT_OUT_OF_HISTORY']);
    }
    expect(await branches.list()).toHaveLength(1);
    expect(await psql(uri, LIST)).toBe('1');
  });

  it('restores a snapshot to a new branch, and in place under the connection string', async () => {
    const { project, branches } = await newProject();
    const { uri, branchId, id: projectId } = project;
    await mark(uri, 1);
    const taken = await platform.api.call<SnapshotAnswer>(
      'POST',
      `/projects/${projectId}/branches/${branchId}/snapshot?name=release`,
    );
    await branches.ended(taken.operations);
    await mark(uri, 2);
    const restorePath = `/projects/${projectId}/snapshots/${taken.snapshot.id}/restore`;
    const preview = await platform.api.call<RestoredAnswer>('POST', restorePath, { name: 'preview' });
    await branches.ended(preview.operations);
    expect(await psql((await branches.open(preview.branch.id)).uri, LIST)).toBe('1');
    expect(await psql(uri, LIST)).toBe('1,2');

    const final = await platform.api.call<RestoredAnswer>('POST', restorePath, { finalize_restore: true });
    await branches.ended(final.operations);
    expect(await psql(uri, LIST)).toBe('1');
    const names = (await branches.list()).map((branch) => [branch.id, branch.name, branch.default]);
    expect(names).toContainEqual([final.branch.id, 'main', true]);
    expect(names).toContainEqual([branchId, 'main (old)', false]);
    expect(await psql((await branches.open(branchId)).uri, LIST)).toBe('1,2');

    const { status } = await platform.api.request('DELETE', `/projects/${projectId}/snapshots/${taken.snapshot.id}`);
    expect(status).toBe(202);
    await platform.api.settled(projectId);
    await mark(uri, 4);
    expect(await psql(uri, LIST)).toBe('1,4');
  });
});
