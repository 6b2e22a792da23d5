import { expect, test } from 'vitest';
import type { BranchId, EndpointId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { findDirectoryEntry } from '../directory/directory-rows.ts';
import { eventually, testPlatform, type TestPlatform } from '../testing/test-platform.ts';

interface Ready {
  readonly projectId: string;
  readonly branchId: BranchId;
  readonly endpointId: EndpointId;
}

async function readyProject(t: TestPlatform): Promise<Ready> {
  const { project, branch, endpoints, operations } = await t.platform.projects.create(t.principal, {});
  await ended(t, operations);
  return { projectId: project.id, branchId: branch.id, endpointId: endpoints[0]?.id ?? 'ep-' };
}

const ended = (t: TestPlatform, operations: readonly { readonly id: string }[]) =>
  t.engine.waitFor(
    operations.map(({ id }) => id),
    5_000,
  );
const passwordOf = async (
  t: TestPlatform,
  { projectId, branchId }: Pick<Ready, 'projectId' | 'branchId'>,
  role: string,
) => (await t.platform.roles.revealPassword(t.principal, projectId, branchId, role)).reveal();
const volumeOf = (t: TestPlatform, endpointId: EndpointId) => t.host.endpoints.get(endpointId)?.spec.volumeId ?? '';

/** What is there of volumes is what rows have. */
async function expectNoLeftovers(t: TestPlatform): Promise<void> {
  const { db } = t.database;
  const branches = await db.selectFrom('branches').select('volume_id').execute();
  const own = await db.selectFrom('endpoints').select('volume_id').where('volume_id', 'is not', null).execute();
  const snapshots = await db.selectFrom('snapshots').select('volume_id').execute();
  const known = [...branches, ...own, ...snapshots].map((row) => row.volume_id ?? '');
  expect([...t.host.volumes.keys()].sort()).toEqual(known.sort());
}

test('a snapshot has the data, roles and passwords of its moment, and outlives its branch', async () => {
  await using t = await testPlatform();
  const { snapshots, branches, roles } = t.platform;
  const main = await readyProject(t);
  const { projectId, branchId } = main;
  const child = await branches.create(t.principal, projectId, {
    parentId: branchId,
    endpoints: [{ type: 'read_write' }],
  });
  await ended(t, child.operations);
  const childId = child.branch.id;
  await roles.create(t.principal, projectId, childId, { name: 'alice' });
  const password = await passwordOf(t, { projectId, branchId: childId }, 'alice');

  const taken = await snapshots.create(t.principal, projectId, childId, { name: 'release' });
  expect(taken.operations.map((o) => o.status)).toEqual(['finished']);
  expect(taken.snapshot).toMatchObject({ name: 'release', sourceBranchId: childId, isManual: true, expiresAt: null });
  expect(taken.snapshot).toMatchObject({
    lsn: expect.stringMatching(/^0\//),
    timestamp: expect.stringMatching(/^[\d-]+T[\d:.]+Z$/),
    fullBytes: 1,
  });
  expect(taken.snapshot).not.toHaveProperty('catalog');
  await roles.delete(t.principal, projectId, childId, 'alice');
  await branches.delete(t.principal, projectId, childId, { isHard: true });

  const { branch } = await snapshots.restore(t.principal, projectId, taken.snapshot.id, {});
  expect(branch).toMatchObject({
    name: 'release restored',
    state: 'ready',
    parentId: null,
    restoredFrom: taken.snapshot.id,
    restoredAs: null,
    restoreStatus: 'restored',
  });
  expect(await passwordOf(t, { projectId, branchId: branch.id }, 'alice')).toBe(password);
  const { endpoint, operations } = await t.platform.endpoints.create(t.principal, projectId, {
    branchId: branch.id,
    type: 'read_write',
  });
  await ended(t, operations);
  await t.host.acquire(endpoint.id);
  const compute = t.host.endpoints.get(endpoint.id);
  const entry = await findDirectoryEntry(t.database.db, endpoint.id);
  expect(compute?.roles.get('alice')).toBe(entry?.roles['alice']);

  await snapshots.delete(t.principal, projectId, taken.snapshot.id);
  expect(await snapshots.list(t.principal, projectId)).toEqual([]);
  await eventually(async () => t.host.volumes.size === 2);
  await expectNoLeftovers(t);
});

test('a restore that is finalized later takes the place of the branch: endpoints, name, default and schedule', async () => {
  await using t = await testPlatform();
  const { snapshots, branches, endpoints } = t.platform;
  const main = await readyProject(t);
  const { projectId, branchId, endpointId } = main;
  const schedule = [{ frequency: 'daily', hour: 3 }] as const;
  await snapshots.setSchedule(t.principal, projectId, branchId, schedule);
  const { endpoint: replica } = await endpoints.create(t.principal, projectId, { branchId, type: 'read_only' });
  const { snapshot } = await snapshots.create(t.principal, projectId, branchId, {});
  expect(snapshot.name).toMatch(/^main \d{4}-/);
  for (const name of ['b1', 'b2']) await t.platform.roles.create(t.principal, projectId, branchId, { name });

  const restored = await snapshots.restore(t.principal, projectId, snapshot.id, { name: 'preview' });
  expect(restored.branch).toMatchObject({ restoredAs: branchId, restoreStatus: 'restored' });
  const newId = restored.branch.id;
  const preview = await endpoints.create(t.principal, projectId, { branchId: newId, type: 'read_write' });
  await ended(t, preview.operations);
  expect(volumeOf(t, endpointId)).toBe(branchId);

  const replicaVolume = volumeOf(t, replica.id);
  const { branch, operations } = await branches.finalizeRestore(t.principal, projectId, newId, {});
  expect(operations.map((o) => [o.action, o.status])).toEqual([['apply_config', 'finished']]);
  expect(branch).toMatchObject({ id: newId, name: 'main', isDefault: true, restoreStatus: 'finalized' });
  const old = await branches.get(t.principal, projectId, branchId);
  expect(old).toMatchObject({ name: 'main (old)', isDefault: false, state: 'ready' });
  const idsOf = async (id: string) => (await endpoints.list(t.principal, projectId, id)).map((e) => e.id).sort();
  expect(await idsOf(newId)).toEqual([endpointId, replica.id].sort());
  expect(await idsOf(branchId)).toEqual([preview.endpoint.id]);
  expect(volumeOf(t, endpointId)).toBe(newId);
  expect(volumeOf(t, preview.endpoint.id)).toBe(branchId);
  expect(t.host.volumes.get(volumeOf(t, replica.id))?.source).toBe(newId);
  expect(t.host.volumes.has(replicaVolume)).toBe(false);
  expect(await snapshots.schedule(t.principal, projectId, newId)).toEqual(schedule);
  expect(await snapshots.schedule(t.principal, projectId, branchId)).toEqual([]);

  // The endpoint has applied changes of the other branch with higher numbers: those of this one still reach it.
  await t.host.acquire(endpointId);
  const compute = t.host.endpoints.get(endpointId);
  expect([...(compute?.roles.keys() ?? [])]).toEqual(['neondb_owner']);
  const entry = await findDirectoryEntry(t.database.db, endpointId);
  expect(entry).toMatchObject({ branchId: newId, roles: { neondb_owner: compute?.roles.get('neondb_owner') } });
  const made = await t.platform.roles.create(t.principal, projectId, newId, { name: 'carol' });
  expect(made.operations.map((o) => o.status)).toEqual(['finished']);
  expect(compute?.roles.has('carol')).toBe(true);

  await expect(branches.finalizeRestore(t.principal, projectId, newId, {})).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining('it is finalized'),
  });
  await expectNoLeftovers(t);
});

test('a restore in place moves the endpoints at once, and can be repeated', async () => {
  await using t = await testPlatform();
  const { snapshots, branches } = t.platform;
  const { projectId, branchId, endpointId } = await readyProject(t);
  const { snapshot } = await snapshots.create(t.principal, projectId, branchId, {});
  const ids = [branchId];
  for (const round of [1, 2]) {
    const targetBranchId = ids.at(-1) ?? '';
    const { branch, operations } = await snapshots.restore(t.principal, projectId, snapshot.id, {
      targetBranchId,
      isFinal: true,
    });
    expect(operations.map((o) => [o.action, o.status])).toEqual([
      ['create_branch', 'finished'],
      ['apply_config', 'finished'],
    ]);
    expect(branch, `round ${round}`).toMatchObject({ name: 'main', isDefault: true, restoreStatus: 'finalized' });
    expect(volumeOf(t, endpointId)).toBe(branch.id);
    ids.push(branch.id);
  }
  const { items } = await branches.list(t.principal, projectId, { limit: 10, sortBy: 'created_at', sortOrder: 'asc' });
  expect(items.map(({ name }) => name)).toEqual(['main (old)', 'main (old) 2', 'main']);
  const deleted = await branches.delete(t.principal, projectId, branchId, { isHard: true });
  await ended(t, deleted?.operations ?? []);
  await expectNoLeftovers(t);
});

test('what cannot be done with snapshots is refused with the reason', async () => {
  await using t = await testPlatform();
  const { snapshots, branches } = t.platform;
  const { projectId, branchId } = await readyProject(t);
  const create = (input: Parameters<typeof snapshots.create>[3]) =>
    snapshots.create(t.principal, projectId, branchId, input);
  const past = new Date('2020-01-01T00:00:00Z');
  await expect(create({ at: { timestamp: past.toISOString() } })).rejects.toMatchObject({
    code: 'MOMENT_OUT_OF_HISTORY',
  });
  await expect(create({ at: { timestamp: past.toISOString(), lsn: '0/1' } })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  });
  await expect(create({ expiresAt: past })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  await expect(create({ name: ' ' })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  const { snapshot } = await create({ name: 'a' });
  await expect(create({ name: 'a' })).rejects.toMatchObject({
    code: 'ALREADY_EXISTS',
    message: 'Cannot accept name: a snapshot a exists already',
  });
  const { snapshot: b } = await create({ name: 'b' });
  const update = (input: Parameters<typeof snapshots.update>[3]) =>
    snapshots.update(t.principal, projectId, b.id, input);
  await expect(update({ name: 'a' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  await expect(update({ expiresAt: past })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  const soon = new Date(Date.now() + 60_000);
  expect(await update({ name: 'c', expiresAt: soon })).toMatchObject({ name: 'c', expiresAt: soon });
  expect(await update({ expiresAt: null })).toMatchObject({ name: 'c', expiresAt: null });

  const restore = (input: Parameters<typeof snapshots.restore>[3]) =>
    snapshots.restore(t.principal, projectId, snapshot.id, input);
  await expect(restore({ name: 'main' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  await expect(restore({ targetBranchId: 'br-none' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await branches.update(t.principal, projectId, branchId, { isProtected: true });
  await expect(restore({ isFinal: true })).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining('it is protected'),
  });
  const { branch } = await restore({});
  await expect(branches.finalizeRestore(t.principal, projectId, branch.id, {})).rejects.toMatchObject({
    code: 'CONFLICT',
  });
  await expect(branches.finalizeRestore(t.principal, projectId, branchId, {})).rejects.toMatchObject({
    message: expect.stringContaining('it was not made from a snapshot'),
  });
  const stranger = await t.stranger();
  for (const work of [
    () => snapshots.list(stranger, projectId),
    () => snapshots.create(stranger, projectId, branchId, {}),
    () => snapshots.delete(stranger, projectId, snapshot.id),
    () => snapshots.restore(stranger, projectId, snapshot.id, {}),
    () => snapshots.setSchedule(stranger, projectId, branchId, []),
    () => snapshots.delete(t.principal, projectId, 'snap-none'),
  ]) {
    await expect(work()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  }
  await t.database.db
    .insertInto('snapshots')
    .values(
      Array.from({ length: 98 }, (_, i) => ({
        id: `snap-${i}`,
        project_id: projectId,
        source_branch_id: branchId,
        name: `n${i}`,
        volume_id: `vol-${i}`,
        is_manual: true,
        catalog: '{}',
      })),
    )
    .execute();
  await expect(create({})).rejects.toMatchObject({ code: 'SNAPSHOTS_LIMIT_EXCEEDED' });
});

test('a full disk fails the snapshot at once, and leaves none', async () => {
  await using t = await testPlatform();
  const { projectId, branchId } = await readyProject(t);
  t.host.failNext('branchVolume', new PlatformError('NO_SPACE', 'Cannot branch: the disk is full'));
  await expect(t.platform.snapshots.create(t.principal, projectId, branchId, {})).rejects.toMatchObject({
    code: 'NO_SPACE',
  });
  expect(await t.platform.snapshots.list(t.principal, projectId)).toEqual([]);
  await expectNoLeftovers(t);
});

test('a restore in place that fails leaves the branch as it was, and can be ordered again', async () => {
  await using t = await testPlatform();
  const { snapshots, branches } = t.platform;
  const { projectId, branchId, endpointId } = await readyProject(t);
  const { snapshot } = await snapshots.create(t.principal, projectId, branchId, {});
  const restore = async () => await snapshots.restore(t.principal, projectId, snapshot.id, { isFinal: true });
  t.host.failNext('branchVolume', new PlatformError('NO_SPACE', 'Cannot branch: the disk is full'));
  await expect(restore()).rejects.toMatchObject({ code: 'NO_SPACE' });
  await eventually(async () => (await branches.get(t.principal, projectId, branchId)).state === 'ready');
  expect((await branches.list(t.principal, projectId, { limit: 10 })).items).toHaveLength(1);
  const { branch } = await restore();
  expect(branch).toMatchObject({ name: 'main', restoreStatus: 'finalized' });
  expect(volumeOf(t, endpointId)).toBe(branch.id);
  await expectNoLeftovers(t);
});

test('a snapshot cannot be deleted while a branch is made of it', async () => {
  await using t = await testPlatform();
  const { snapshots } = t.platform;
  const { projectId, branchId } = await readyProject(t);
  const { snapshot } = await snapshots.create(t.principal, projectId, branchId, {});
  t.host.faults.delayMs = 300;
  const restoring = snapshots.restore(t.principal, projectId, snapshot.id, {});
  const count = async () => (await t.platform.branches.list(t.principal, projectId, { limit: 10 })).items.length;
  await eventually(async () => (await count()) === 2);
  const remove = async () => await snapshots.delete(t.principal, projectId, snapshot.id);
  await expect(remove()).rejects.toMatchObject({ code: 'PROJECT_LOCKED', message: /being restored/ });
  await ended(t, (await restoring).operations);
  await ended(t, await remove());
  await expect(snapshots.restore(t.principal, projectId, snapshot.id, {})).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expectNoLeftovers(t);
});
