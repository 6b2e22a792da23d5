import { expect, test } from 'vitest';
import type { BranchId, EndpointId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { findDirectoryEntry } from '../directory/directory-rows.ts';
import type { RestoreBranchInput } from '../platform.ts';
import { eventually, testPlatform, type TestPlatform } from '../testing/test-platform.ts';

interface Ready {
  readonly projectId: string;
  readonly branchId: BranchId;
  readonly endpointId: EndpointId;
}

/** A project whose first start has been settled. */
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

async function readyChild(t: TestPlatform, { projectId, branchId }: Ready): Promise<Ready> {
  const endpoints = [{ type: 'read_write' }] as const;
  const created = await t.platform.branches.create(t.principal, projectId, { parentId: branchId, endpoints });
  await ended(t, created.operations);
  return { projectId, branchId: created.branch.id, endpointId: created.endpoints[0]?.id ?? 'ep-' };
}

const volumeOf = (t: TestPlatform, { endpointId }: Ready): string =>
  t.host.endpoints.get(endpointId)?.spec.volumeId ?? '';
const headOf = (t: TestPlatform, at: Ready) => t.host.volumes.history(volumeOf(t, at)).newest;
const rolesOf = async (t: TestPlatform, projectId: string, branchId: string) =>
  (await t.platform.roles.list(t.principal, projectId, branchId)).map(({ name }) => name);
const restore = (t: TestPlatform, { projectId, branchId }: Ready, input: RestoreBranchInput) =>
  t.platform.branches.restore(t.principal, projectId, branchId, input);
const passwordOf = async (
  t: TestPlatform,
  { projectId, branchId }: Pick<Ready, 'projectId' | 'branchId'>,
  role: string,
) => (await t.platform.roles.revealPassword(t.principal, projectId, branchId, role)).reveal();

/** What is there of volumes is what rows have. */
async function expectNoLeftovers(t: TestPlatform): Promise<void> {
  const { db } = t.database;
  const rows = await db.selectFrom('branches').select('volume_id').execute();
  const own = await db.selectFrom('endpoints').select('volume_id').where('volume_id', 'is not', null).execute();
  const known = [...rows, ...own].map((row) => row.volume_id ?? '');
  expect([...t.host.volumes.keys()].sort()).toEqual(known.sort());
}

test('a branch gets the data of a moment under its endpoint, and the state before is a branch that brings it back', async () => {
  await using t = await testPlatform();
  const main = await readyProject(t);
  const { projectId, branchId, endpointId } = main;
  const ownerPassword = await passwordOf(t, main, 'neondb_owner');
  const { lsn } = headOf(t, main);
  await t.platform.roles.create(t.principal, projectId, branchId, { name: 'alice' });
  await t.platform.databases.create(t.principal, projectId, branchId, { name: 'shop', ownerName: 'alice' });
  const alicePassword = await passwordOf(t, main, 'alice');
  const child = await readyChild(t, main);
  const oldVolumeId = volumeOf(t, main);

  const input = { sourceBranchId: branchId, at: { lsn }, preserveUnderName: 'before' };
  const { branch, operations } = await restore(t, main, input);
  expect(operations.map((o) => [o.action, o.status])).toEqual([['create_branch', 'finished']]);
  expect(branch).toMatchObject({ id: branchId, name: 'main', state: 'ready', isDefault: true, parentLsn: lsn });
  expect(branch.lastResetAt).toBeNull();
  const backup = await t.platform.branches.get(t.principal, projectId, branch.parentId ?? '');
  expect(backup).toMatchObject({ name: 'before', state: 'ready', parentId: null, isDefault: false });
  expect((await t.platform.branches.get(t.principal, projectId, child.branchId)).parentId).toBe(backup.id);
  expect(await rolesOf(t, projectId, backup.id)).toEqual(['alice', 'neondb_owner']);
  expect(await passwordOf(t, { projectId, branchId: backup.id }, 'alice')).toBe(alicePassword);

  expect(volumeOf(t, main)).not.toBe(oldVolumeId);
  expect(t.host.endpoints.get(endpointId)?.state).toBe('idle');
  await t.host.acquire(endpointId);
  await eventually(async () => !(await rolesOf(t, projectId, branchId)).includes('alice'));
  expect(t.host.endpoints.get(endpointId)?.databases.has('shop')).toBe(false);
  expect(await passwordOf(t, main, 'neondb_owner')).toBe(ownerPassword);
  const verifier = t.host.endpoints.get(endpointId)?.roles.get('neondb_owner');
  expect((await findDirectoryEntry(t.database.db, endpointId))?.roles).toEqual({ neondb_owner: verifier });

  await restore(t, main, { sourceBranchId: backup.id });
  await t.host.acquire(endpointId);
  expect(t.host.endpoints.get(endpointId)?.databases.get('shop')).toBe('alice');
  expect(await passwordOf(t, main, 'alice')).toBe(alicePassword);
  const entry = await eventually(async () => findDirectoryEntry(t.database.db, endpointId));
  expect(entry.roles['alice']).toBe(t.host.endpoints.get(endpointId)?.roles.get('alice'));
  await expectNoLeftovers(t);
});

test('backups can be deleted, and what was restored from them stays', async () => {
  await using t = await testPlatform();
  const main = await readyProject(t);
  const { projectId, branchId } = main;
  const backups: string[] = [];
  for (const name of ['first', 'second']) {
    const input = { sourceBranchId: branchId, at: { timestamp: new Date().toISOString() }, preserveUnderName: name };
    const { branch } = await restore(t, main, input);
    backups.push(branch.parentId ?? '');
  }
  const [first = '', second = ''] = backups;
  expect((await t.platform.branches.get(t.principal, projectId, second)).parentId).toBe(first);
  const { branch: child, operations } = await t.platform.branches.create(t.principal, projectId, { parentId: first });
  await ended(t, operations);
  const remove = async (id: string): Promise<void> => {
    const deleted = await t.platform.branches.delete(t.principal, projectId, id, { isHard: true });
    await ended(t, deleted?.operations ?? []);
  };
  await expect(remove(first)).rejects.toMatchObject({ code: 'CONFLICT' });
  expect((await t.platform.branches.get(t.principal, projectId, second)).parentId).toBe(first);
  await remove(child.id);
  await remove(first);
  expect((await t.platform.branches.get(t.principal, projectId, second)).parentId).toBeNull();
  await remove(second);
  expect(await t.platform.branches.get(t.principal, projectId, branchId)).toMatchObject({
    parentId: null,
    parentLsn: null,
    state: 'ready',
  });
  await expectNoLeftovers(t);
});

test('a restore to a past password keeps the present one, in the compute too', async () => {
  await using t = await testPlatform();
  const main = await readyProject(t);
  const { projectId, branchId, endpointId } = main;
  const { lsn } = headOf(t, main);
  const { password } = await t.platform.roles.resetPassword(t.principal, projectId, branchId, 'neondb_owner');
  const present = t.host.endpoints.get(endpointId)?.roles.get('neondb_owner');
  await restore(t, main, { sourceBranchId: branchId, at: { lsn }, preserveUnderName: 'before' });
  expect(t.host.endpoints.get(endpointId)?.roles.get('neondb_owner')).not.toBe(present);
  await t.host.acquire(endpointId);
  expect(t.host.endpoints.get(endpointId)?.roles.get('neondb_owner')).toBe(present);
  expect(await passwordOf(t, main, 'neondb_owner')).toBe(password?.reveal());
});

test('a reset takes the head of the parent, starts the time to live anew, and leaves nothing of what was', async () => {
  let now = new Date('2026-01-01T00:00:00Z');
  await using t = await testPlatform({ now: () => now });
  const main = await readyProject(t);
  const child = await readyChild(t, main);
  const { projectId } = main;
  await t.platform.branches.update(t.principal, projectId, child.branchId, {
    expiresAt: new Date('2026-01-01T10:00:00Z'),
  });
  await t.platform.roles.create(t.principal, projectId, child.branchId, { name: 'lost' });
  await t.platform.roles.create(t.principal, projectId, main.branchId, { name: 'fresh' });
  const oldVolumeId = volumeOf(t, child);
  now = new Date('2026-01-01T05:00:00Z');
  const { branch } = await restore(t, child, { sourceBranchId: main.branchId });
  expect(branch).toMatchObject({
    parentId: main.branchId,
    parentLsn: headOf(t, main).lsn,
    lastResetAt: now,
    expiresAt: new Date('2026-01-01T15:00:00Z'),
    ttlSeconds: 36_000,
  });
  expect(await rolesOf(t, projectId, child.branchId)).toEqual(['fresh', 'neondb_owner']);
  expect(await passwordOf(t, child, 'fresh')).toBe(await passwordOf(t, main, 'fresh'));
  expect(t.host.volumes.has(oldVolumeId)).toBe(false);
  await t.host.acquire(child.endpointId);
  expect([...(t.host.endpoints.get(child.endpointId)?.roles.keys() ?? [])].sort()).toEqual(['fresh', 'neondb_owner']);
  await expectNoLeftovers(t);
});

test('a reset from a protected parent keeps the passwords of the branch and gives new roles new ones', async () => {
  await using t = await testPlatform();
  const main = await readyProject(t);
  const child = await readyChild(t, main);
  const { projectId } = main;
  const own = await passwordOf(t, child, 'neondb_owner');
  await t.platform.branches.update(t.principal, projectId, main.branchId, { isProtected: true });
  await t.platform.roles.resetPassword(t.principal, projectId, main.branchId, 'neondb_owner');
  await t.platform.roles.create(t.principal, projectId, main.branchId, { name: 'fresh' });
  await restore(t, child, { sourceBranchId: main.branchId });
  expect(await passwordOf(t, child, 'neondb_owner')).toBe(own);
  expect(await passwordOf(t, child, 'fresh')).not.toBe(await passwordOf(t, main, 'fresh'));
  await t.host.acquire(child.endpointId);
  const { roles } = t.host.endpoints.get(child.endpointId) ?? {};
  const { roles: ofMain } = t.host.endpoints.get(main.endpointId) ?? {};
  for (const name of ['fresh', 'neondb_owner']) expect(roles?.get(name)).not.toBe(ofMain?.get(name));
});

test('read-only endpoints follow with volumes of their own', async () => {
  await using t = await testPlatform();
  const main = await readyProject(t);
  const { projectId, branchId } = main;
  const { lsn } = headOf(t, main);
  const input = { branchId, type: 'read_only' } as const;
  const { endpoint } = await t.platform.endpoints.create(t.principal, projectId, input);
  const replica = { ...main, endpointId: endpoint.id };
  const before = volumeOf(t, replica);
  await restore(t, main, { sourceBranchId: branchId, at: { lsn }, preserveUnderName: 'before' });
  const after = volumeOf(t, replica);
  expect(after).not.toBe(before);
  expect(after).not.toBe(volumeOf(t, main));
  expect(t.host.volumes.get(after)?.source).toBe(volumeOf(t, main));
  expect(t.host.volumes.has(before)).toBe(false);
  await expectNoLeftovers(t);
});

test('a change that was ordered and not yet applied is applied after the restore', async () => {
  await using t = await testPlatform({ settings: { answerWaitMs: 300, createWaitMs: 300 } });
  const { platform, principal } = t;
  t.host.failNext('applyCatalog', ...Array.from({ length: 40 }, () => new PlatformError('COMPUTE_START_FAILED', 'no')));
  const created = await platform.projects.create(principal, { branch: { roleName: 'acme', databaseName: 'shop' } });
  const main = {
    projectId: created.project.id,
    branchId: created.branch.id,
    endpointId: created.endpoints[0]?.id ?? 'ep-',
  } as const;
  t.host.faults.next.clear();
  await ended(t, created.operations);
  await restore(t, main, {
    sourceBranchId: main.branchId,
    at: { timestamp: new Date().toISOString() },
    preserveUnderName: 'before',
  });
  await eventually(async () => volumeOf(t, main) !== main.branchId);
  await t.host.acquire(main.endpointId);
  const compute = t.host.endpoints.get(main.endpointId);
  expect([...(compute?.roles.keys() ?? [])]).toEqual(['acme']);
  expect([...(compute?.databases.keys() ?? [])]).toEqual(['shop']);
});

test('what cannot be restored is refused with the reason, and nothing changes', async () => {
  await using t = await testPlatform();
  const main = await readyProject(t);
  const child = await readyChild(t, main);
  const { projectId, branchId } = main;
  const { lsn } = headOf(t, main);
  const self = { sourceBranchId: branchId };
  const past = '2020-01-01T00:00:00Z';
  const future = new Date(Date.now() + 3_600_000).toISOString();
  const cases: readonly (readonly [Ready, RestoreBranchInput, string, string])[] = [
    [main, { ...self, preserveUnderName: 'x' }, 'INVALID_REQUEST', 'give source_lsn or source_timestamp'],
    [main, { ...self, at: { lsn } }, 'INVALID_REQUEST', 'give preserve_under_name'],
    [main, { ...self, at: { lsn, timestamp: past }, preserveUnderName: 'x' }, 'INVALID_REQUEST', 'give one of both'],
    [main, { ...self, at: { lsn: 'zero' }, preserveUnderName: 'x' }, 'INVALID_REQUEST', 'source_lsn'],
    [main, { ...self, at: { lsn }, preserveUnderName: ' ' }, 'INVALID_REQUEST', 'preserve_under_name'],
    [main, { ...self, at: { lsn }, preserveUnderName: 'main' }, 'ALREADY_EXISTS', 'a branch main exists already'],
    [main, { ...self, at: { timestamp: past }, preserveUnderName: 'x' }, 'MOMENT_OUT_OF_HISTORY', 'Cannot'],
    [main, { ...self, at: { timestamp: future }, preserveUnderName: 'x' }, 'MOMENT_OUT_OF_HISTORY', 'in the future'],
    [main, { ...self, at: { lsn: 'FF/0' }, preserveUnderName: 'x' }, 'MOMENT_OUT_OF_HISTORY', 'Cannot'],
    [main, { sourceBranchId: child.branchId }, 'CONFLICT', 'it has children. Give preserve_under_name'],
    [child, { sourceBranchId: 'br-none' }, 'NOT_FOUND', 'branch br-none'],
  ];
  for (const [target, input, code, message] of cases) {
    const refused = expect(restore(t, target, input), `${code} ${message}`).rejects;
    await refused.toMatchObject({ code, message: expect.stringContaining(message) });
  }
  const other = await readyProject(t);
  await expect(restore(t, child, { sourceBranchId: other.branchId })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  const stranger = await t.stranger();
  await expect(
    t.platform.branches.restore(stranger, projectId, child.branchId, { sourceBranchId: branchId }),
  ).rejects.toMatchObject({ code: 'NOT_FOUND' });

  await t.platform.branches.update(t.principal, projectId, child.branchId, { isProtected: true });
  await expect(restore(t, child, { sourceBranchId: branchId })).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining('it is protected'),
  });
  await t.platform.branches.update(t.principal, projectId, child.branchId, {
    isProtected: false,
    expiresAt: new Date(Date.now() + 3_600_000),
  });
  await expect(restore(t, main, { sourceBranchId: child.branchId, preserveUnderName: 'x' })).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining('expires'),
  });
  const { items } = await t.platform.branches.list(t.principal, projectId, { limit: 10 });
  expect(items.map(({ state }) => state)).toEqual(['ready', 'ready']);
  await expectNoLeftovers(t);
});

test('a full disk fails the restore at once, and the branch is as it was', async () => {
  await using t = await testPlatform();
  const main = await readyProject(t);
  const { projectId, branchId } = main;
  const before = volumeOf(t, main);
  t.host.failNext('branchVolume', new PlatformError('NO_SPACE', 'Cannot branch: the disk is full'));
  const input = { sourceBranchId: branchId, at: { timestamp: new Date().toISOString() }, preserveUnderName: 'before' };
  await expect(restore(t, main, input)).rejects.toMatchObject({ code: 'NO_SPACE' });
  expect((await t.platform.branches.get(t.principal, projectId, branchId)).state).toBe('ready');
  expect((await t.platform.branches.list(t.principal, projectId, { limit: 10 })).items).toHaveLength(1);
  expect(volumeOf(t, main)).toBe(before);
  await expectNoLeftovers(t);
  await restore(t, main, { ...input, at: { timestamp: new Date().toISOString() } });
  expect(volumeOf(t, main)).not.toBe(before);
});

test('of two restores at once one is done, and the other told to come again', async () => {
  await using t = await testPlatform();
  const main = await readyProject(t);
  t.host.faults.delayMs = 30;
  const input = { sourceBranchId: main.branchId, at: { timestamp: new Date().toISOString() } };
  const results = await Promise.allSettled(
    ['a', 'b'].map((preserveUnderName) => restore(t, main, { ...input, preserveUnderName })),
  );
  const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as PlatformError] : []));
  expect(refused.map(({ code }) => code)).toEqual(['PROJECT_LOCKED']);
  await expectNoLeftovers(t);
});

test('a restore from a branch that is given an end meanwhile fails, and the branch is as it was', async () => {
  await using t = await testPlatform();
  const main = await readyProject(t);
  const child = await readyChild(t, main);
  const { projectId, branchId } = main;
  const before = volumeOf(t, main);
  t.host.faults.delayMs = 300;
  const at = { lsn: headOf(t, child).lsn };
  const restoring = restore(t, main, { sourceBranchId: child.branchId, at, preserveUnderName: 'before' });
  restoring.catch(() => undefined);
  const stateOf = async () => (await t.platform.branches.get(t.principal, projectId, branchId)).state;
  await eventually(async () => (await stateOf()) === 'resetting');
  const expiresAt = new Date(Date.now() + 3_600_000);
  await t.platform.branches.update(t.principal, projectId, child.branchId, { expiresAt });
  await expect(restoring).rejects.toMatchObject({ code: 'CONFLICT', message: /is to expire/ });
  expect(await stateOf()).toBe('ready');
  expect(volumeOf(t, main)).toBe(before);
  await expectNoLeftovers(t);
});
