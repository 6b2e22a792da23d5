import { expect, test } from 'vitest';
import type { BranchId } from '@tenantry/contract/ids.ts';
import { testPlatform, type TestPlatform } from '../testing/test-platform.ts';
import { tickSchedules } from './run-schedules.ts';

async function readyProject(t: TestPlatform): Promise<readonly [string, BranchId]> {
  const { project, branch, operations } = await t.platform.projects.create(t.principal, {});
  await t.engine.waitFor(
    operations.map(({ id }) => id),
    5_000,
  );
  return [project.id, branch.id];
}

const signal = new AbortController().signal;

test('due snapshots are taken once by any number of processes, missed runs count as one, expired ones go', async () => {
  let now = new Date('2026-01-01T12:10:00Z');
  await using t = await testPlatform({ now: () => now });
  const [projectId, branchId] = await readyProject(t);
  const { snapshots } = t.platform;
  const schedule = [
    { frequency: 'hourly', retentionSeconds: 7200 },
    { frequency: 'daily', hour: 15 },
  ] as const;
  expect(await snapshots.setSchedule(t.principal, projectId, branchId, schedule)).toEqual(schedule);
  expect(await snapshots.schedule(t.principal, projectId, branchId)).toEqual(schedule);
  const names = async () => (await snapshots.list(t.principal, projectId)).map(({ name }) => name).sort();

  await tickSchedules(t.context, signal);
  expect(await names()).toEqual([]);

  now = new Date('2026-01-01T13:00:05Z');
  await Promise.all(Array.from({ length: 5 }, () => tickSchedules(t.context, signal)));
  expect(await names()).toEqual(['main-hourly-2026-01-01T13:00:05Z']);

  // Away for two hours and a bit.
  now = new Date('2026-01-01T15:30:00Z');
  await tickSchedules(t.context, signal);
  await tickSchedules(t.context, signal);
  expect(await names()).toEqual(['main-daily-2026-01-01T15:30:00Z', 'main-hourly-2026-01-01T15:30:00Z']);
  const taken = await snapshots.list(t.principal, projectId);
  expect(taken.map(({ isManual, expiresAt }) => [isManual, expiresAt])).toEqual(
    expect.arrayContaining([
      [false, null],
      [false, new Date('2026-01-01T17:30:00Z')],
    ]),
  );

  const { rows } = await countDue(t);
  expect(rows).toEqual([{ next: '2026-01-01T16:00:00Z' }, { next: '2026-01-02T15:00:00Z' }]);
  await snapshots.setSchedule(t.principal, projectId, branchId, []);
  now = new Date('2026-01-03T00:00:00Z');
  await tickSchedules(t.context, signal);
  expect(await names()).toEqual(['main-daily-2026-01-01T15:30:00Z']);
});

test('a branch that is being reset has its snapshot taken afterwards', async () => {
  let now = new Date('2026-01-01T12:10:00Z');
  await using t = await testPlatform({ now: () => now });
  const [projectId, branchId] = await readyProject(t);
  await t.platform.snapshots.setSchedule(t.principal, projectId, branchId, [{ frequency: 'hourly' }]);
  now = new Date('2026-01-01T13:10:00Z');
  const setState = (state: 'ready' | 'resetting') =>
    t.database.db.updateTable('branches').set({ state }).where('id', '=', branchId).execute();
  await setState('resetting');
  await tickSchedules(t.context, signal);
  expect(await t.platform.snapshots.list(t.principal, projectId)).toEqual([]);
  await setState('ready');
  await tickSchedules(t.context, signal);
  expect(await t.platform.snapshots.list(t.principal, projectId)).toHaveLength(1);
});

async function countDue(t: TestPlatform) {
  const rows = await t.database.db.selectFrom('snapshot_schedules').select('next_run_at').orderBy('item').execute();
  return { rows: rows.map((row) => ({ next: row.next_run_at.toISOString().replace('.000Z', 'Z') })) };
}
