import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EndpointId } from '@tenantry/contract/ids.ts';
import { must } from '../../kernel/assert.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { findDirectoryEntry } from '../directory/directory-rows.ts';
import type { CreatedProject, CreateProjectInput, Branch } from '../platform.ts';
import { eventually, testPlatform, type TestPlatform } from '../testing/test-platform.ts';
import { expireDueBranches } from './expire-branches.ts';

let t: TestPlatform;
/** Added to the platform's clock. */
let aheadMs = 0;
beforeAll(async () => {
  t = await testPlatform({ now: () => new Date(Date.now() + aheadMs) });
});
afterAll(() => t[Symbol.asyncDispose]());

async function newProject(input: CreateProjectInput = {}): Promise<CreatedProject & { readonly projectId: string }> {
  const created = await t.platform.projects.create(t.principal, input);
  const ids = created.operations.map(({ id }) => id);
  await t.engine.waitFor(ids, 10_000);
  await eventually(async () => t.host.endpoints.get(idOf(created))?.state === 'active');
  return { ...created, projectId: created.project.id };
}

const idOf = ({ endpoints }: Pick<CreatedProject, 'endpoints'>): EndpointId => must(endpoints[0]).id;
const rolesOf = (branch: Branch) => t.platform.roles.list(t.principal, branch.projectId, branch.id);
const namesOf = (rows: readonly { readonly name: string }[]): string[] => rows.map(({ name }) => name);
const verifierOf = async (endpointId: string, role: string): Promise<string | undefined> =>
  (await findDirectoryEntry(t.database.db, endpointId))?.roles[role];

test('without a body a branch is a child of the default branch, without endpoints, called as its id', async () => {
  const { projectId, branch: parent } = await newProject();
  const created = await t.platform.branches.create(t.principal, projectId, {});
  const { branch } = created;
  expect(branch).toMatchObject({ parentId: parent.id, name: branch.id, state: 'ready', isDefault: false });
  expect(branch.parentLsn).toMatch(/^0\/[0-9A-F]+$/);
  expect(branch.parentTimestamp).toMatch(/^[\d-]+T[\d:.]+Z$/);
  expect(created.endpoints).toEqual([]);
  expect(created.connections).toEqual([]);
  expect(created.operations.map((o) => [o.action, o.status])).toEqual([['create_branch', 'finished']]);
  expect(namesOf(created.roles)).toEqual(['neondb_owner']);
  expect(namesOf(created.databases)).toEqual(['neondb']);
  expect(t.host.volumes.get(branch.id)).toMatchObject({ source: parent.id, historyRetentionSeconds: 86_400 });
});

test("a branch with an endpoint is connected to with the parent's password", async () => {
  const { projectId, connection, endpoints } = await newProject();
  const created = await t.platform.branches.create(t.principal, projectId, {
    name: 'preview',
    endpoints: [{ type: 'read_write', maxCu: 2 }, { type: 'read_only' }],
    annotations: { ref: 'abc' },
  });
  expect(created.operations.map((o) => o.action)).toEqual(['create_branch', 'start_compute', 'start_compute']);
  expect(created.branch).toMatchObject({ name: 'preview', annotations: { ref: 'abc' } });
  expect(created.connections).toHaveLength(2);
  expect(must(created.connections[0]).password.reveal()).toBe(connection.password.reveal());
  expect(created.passwords.size).toBe(0);
  const [writer, reader] = created.endpoints;
  expect(writer).toMatchObject({ type: 'read_write', minCu: 0.25, maxCu: 2 });
  expect(t.host.endpoints.get(must(writer).id)?.spec.volumeId).toBe(created.branch.id);
  const replica = must(t.host.endpoints.get(must(reader).id)).spec;
  expect(replica).toMatchObject({ type: 'read_only', primaryVolumeId: created.branch.id, catalogChanges: [] });
  expect(t.host.volumes.get(replica.volumeId)?.source).toBe(created.branch.id);
  expect(await verifierOf(must(writer).id, 'neondb_owner')).toBe(
    await verifierOf(must(endpoints[0]).id, 'neondb_owner'),
  );
  const password = await t.platform.roles.revealPassword(t.principal, projectId, created.branch.id, 'neondb_owner');
  expect(password.reveal()).toBe(connection.password.reveal());
});

test('a branch at a past moment has the roles and databases of then, and the passwords of now', async () => {
  const { projectId, branch: parent, endpoints } = await newProject();
  const ids = [projectId, parent.id] as const;
  const { newest } = await t.host.volumeHistory(parent.id);
  const { password } = await t.platform.roles.resetPassword(t.principal, ...ids, 'neondb_owner');
  await t.platform.roles.create(t.principal, ...ids, { name: 'later' });
  await t.platform.databases.create(t.principal, ...ids, { name: 'later_db', ownerName: 'later' });

  const { branch, endpoints: made } = await t.platform.branches.create(t.principal, projectId, {
    at: { lsn: newest.lsn },
    endpoints: [{ type: 'read_write' }],
  });
  expect(branch.parentLsn).toBe(newest.lsn);
  const endpointId = must(made[0]).id;
  await eventually(async () => namesOf(await rolesOf(branch)).join() === 'neondb_owner');
  expect(namesOf(await t.platform.databases.list(t.principal, projectId, branch.id))).toEqual(['neondb']);
  expect(Object.keys((await findDirectoryEntry(t.database.db, endpointId))?.roles ?? {})).toEqual(['neondb_owner']);
  const now = await verifierOf(must(endpoints[0]).id, 'neondb_owner');
  expect(t.host.endpoints.get(endpointId)?.roles.get('neondb_owner')).toBe(now);
  const revealed = await t.platform.roles.revealPassword(t.principal, projectId, branch.id, 'neondb_owner');
  expect(revealed.reveal()).toBe(password?.reveal());
});

test('changes that are on their way to the parent are on their way to the branch', async () => {
  const { projectId, branch: parent } = await newProject();
  t.host.failNext('applyCatalog', ...Array.from({ length: 4 }, () => new PlatformError('HOST_UNAVAILABLE', 'away')));
  const ordered = t.platform.databases.create(t.principal, projectId, parent.id, {
    name: 'coming',
    ownerName: 'neondb_owner',
  });
  await eventually(async () =>
    namesOf(await t.platform.databases.list(t.principal, projectId, parent.id)).includes('coming'),
  );
  const { branch, endpoints } = await t.platform.branches.create(t.principal, projectId, {
    endpoints: [{ type: 'read_write' }],
  });
  await ordered;
  await eventually(async () => t.host.endpoints.get(must(endpoints[0]).id)?.databases.has('coming'));
  expect(namesOf(await t.platform.databases.list(t.principal, projectId, branch.id))).toContain('coming');
});

test('children of a protected branch get new passwords, which the answer shows', async () => {
  const { projectId, branch: parent, connection, endpoints } = await newProject();
  await t.platform.branches.update(t.principal, projectId, parent.id, { isProtected: true });
  const created = await t.platform.branches.create(t.principal, projectId, { endpoints: [{ type: 'read_write' }] });
  const password = must(created.passwords.get('neondb_owner')).reveal();
  expect(password).not.toBe(connection.password.reveal());
  expect(must(created.connections[0]).password.reveal()).toBe(password);
  const endpointId = must(created.endpoints[0]).id;
  const verifier = await verifierOf(endpointId, 'neondb_owner');
  expect(verifier).not.toBe(await verifierOf(must(endpoints[0]).id, 'neondb_owner'));
  await eventually(async () => t.host.endpoints.get(endpointId)?.roles.get('neondb_owner') === verifier);
  await expect(t.platform.projects.delete(t.principal, projectId)).rejects.toMatchObject({ code: 'CONFLICT' });
  await expect(t.platform.endpoints.delete(t.principal, projectId, idOf({ endpoints }))).rejects.toMatchObject({
    code: 'CONFLICT',
  });
});

test('a branch of the schema alone is a root branch', async () => {
  const { projectId, branch: parent } = await newProject();
  const { branch } = await t.platform.branches.create(t.principal, projectId, {
    parentId: parent.id,
    initSource: 'schema-only',
  });
  expect(branch).toMatchObject({ parentId: null, parentLsn: null, initSource: 'schema-only', state: 'ready' });
  expect(t.host.volumes.get(branch.id)).toMatchObject({ isSchemaOnly: true });
  await t.platform.branches.delete(t.principal, projectId, branch.id, { isHard: true });
});

test('a moment that is not kept is refused before there is anything', async () => {
  const { projectId } = await newProject();
  const before = t.host.volumes.size;
  const refused = { code: 'MOMENT_OUT_OF_HISTORY' };
  const create = (at: object) => t.platform.branches.create(t.principal, projectId, { at });
  await expect(create({ timestamp: new Date(Date.now() + 60_000).toISOString() })).rejects.toMatchObject(refused);
  await expect(create({ timestamp: new Date('2020-01-01').toISOString() })).rejects.toMatchObject(refused);
  await expect(create({ lsn: '0/1' })).rejects.toMatchObject(refused);
  await expect(create({ lsn: 'x' })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  await expect(create({ lsn: '0/1', timestamp: new Date().toISOString() })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  });
  expect((await t.platform.branches.list(t.principal, projectId, { limit: 10 })).items).toHaveLength(1);
  expect(t.host.volumes.size).toBe(before);
});

test('a creation that fails for good leaves nothing', async () => {
  const { projectId } = await newProject();
  const before = [...t.host.volumes.keys()];
  t.host.failNext('branchVolume', new PlatformError('NO_SPACE', 'Cannot clone: no space'));
  const input = { name: 'full', endpoints: [{ type: 'read_write' }] } as const;
  await expect(t.platform.branches.create(t.principal, projectId, input)).rejects.toMatchObject({ code: 'NO_SPACE' });
  expect([...t.host.volumes.keys()]).toEqual(before);
  expect((await t.platform.branches.create(t.principal, projectId, input)).branch.name).toBe('full');
});

test('names are of one branch at a time, and limits hold', async () => {
  const { projectId } = await newProject();
  const create = (input: object) => t.platform.branches.create(t.principal, projectId, input);
  const { branch } = await create({ name: 'a' });
  await expect(create({ name: 'a' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  await expect(create({ name: 'main' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  const rename = (name: string) => t.platform.branches.update(t.principal, projectId, branch.id, { name });
  await expect(rename('main')).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  expect((await rename('b')).branch.name).toBe('b');
  for (let n = 0; n < 5; n += 1) await create({ name: `p${n}`, isProtected: true });
  await expect(create({ isProtected: true })).rejects.toMatchObject({ code: 'BRANCHES_PROTECTED_LIMIT_EXCEEDED' });
  const protect = t.platform.branches.update(t.principal, projectId, branch.id, { isProtected: true });
  await expect(protect).rejects.toMatchObject({ code: 'BRANCHES_PROTECTED_LIMIT_EXCEEDED' });
  await expect(create({ isArchived: true })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  const two = [{ type: 'read_write' }, { type: 'read_write' }];
  await expect(create({ endpoints: two })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
});

test('what must not be deleted is not', async () => {
  const { projectId, branch: root } = await newProject();
  const { branch: child } = await t.platform.branches.create(t.principal, projectId, {});
  const { branch: grandchild } = await t.platform.branches.create(t.principal, projectId, { parentId: child.id });
  const remove = (id: string, isHard = false) => t.platform.branches.delete(t.principal, projectId, id, { isHard });
  const refused = { code: 'CONFLICT' };
  await expect(remove(root.id)).rejects.toMatchObject(refused);
  await expect(remove(child.id)).rejects.toMatchObject(refused);
  await t.platform.branches.setDefault(t.principal, projectId, grandchild.id);
  await expect(remove(grandchild.id)).rejects.toMatchObject(refused);
  await expect(remove(root.id)).rejects.toMatchObject(refused);
  await t.platform.branches.setDefault(t.principal, projectId, root.id);
  await t.platform.branches.update(t.principal, projectId, grandchild.id, { isProtected: true });
  await expect(remove(grandchild.id)).rejects.toMatchObject(refused);
  await t.platform.branches.update(t.principal, projectId, grandchild.id, { isProtected: false });
  await remove(grandchild.id);
  // It may be recovered, and then needs its parent.
  await expect(remove(child.id, true)).rejects.toMatchObject(refused);
  await remove(child.id);
  await expect(t.platform.branches.recover(t.principal, projectId, grandchild.id)).rejects.toMatchObject(refused);
  await expect(remove('br-nobody')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(await remove(child.id)).toBeUndefined();
});

test('a deleted branch is out of reach, gives its name back, and can be recovered', async () => {
  const { projectId } = await newProject();
  const made = { name: 'feature', endpoints: [{ type: 'read_write' }], expiresAt: inHours(1) } as const;
  const { branch, endpoints } = await t.platform.branches.create(t.principal, projectId, made);
  const endpointId = must(endpoints[0]).id;
  await eventually(async () => t.host.endpoints.get(endpointId)?.state === 'active');
  await t.platform.branches.delete(t.principal, projectId, branch.id, { isHard: false });

  const { branches, endpoints: all } = t.platform;
  await expect(branches.get(t.principal, projectId, branch.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(all.get(t.principal, projectId, endpointId)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(await findDirectoryEntry(t.database.db, endpointId)).toBeUndefined();
  expect(t.host.endpoints.get(endpointId)).toMatchObject({
    state: 'idle',
    spec: { disabled: true, branchDeleted: true },
  });
  const names = async (includeDeleted: boolean) =>
    namesOf((await branches.list(t.principal, projectId, { limit: 10, includeDeleted })).items);
  expect(await names(false)).not.toContain('feature');
  expect(await names(true)).toContain('feature');

  const other = await branches.create(t.principal, projectId, { name: 'feature' });
  const recovered = await branches.recover(t.principal, projectId, branch.id);
  expect(recovered.branch).toMatchObject({ name: branch.id, deletedAt: null, expiresAt: null });
  expect(other.branch.name).toBe('feature');
  expect(await findDirectoryEntry(t.database.db, endpointId)).toMatchObject({ disabled: false });
  expect(t.host.endpoints.get(endpointId)).toMatchObject({ spec: { disabled: false, branchDeleted: false } });
  await expect(branches.recover(t.principal, projectId, branch.id)).rejects.toMatchObject({ code: 'CONFLICT' });
});

test('a branch that is deleted for good is gone from the host, also if that fails at first', async () => {
  const { projectId, branch: parent, endpoints: parents } = await newProject();
  const input = { endpoints: [{ type: 'read_write' }, { type: 'read_only' }] } as const;
  const { branch, endpoints } = await t.platform.branches.create(t.principal, projectId, input);
  t.host.failNext('deleteVolume', new PlatformError('CONFLICT', 'Cannot delete: made by the test'));
  await t.platform.branches.delete(t.principal, projectId, branch.id, { isHard: true });
  for (const { id } of endpoints) expect(await findDirectoryEntry(t.database.db, id)).toBeUndefined();
  const removals = () =>
    t.database.db.selectFrom('host_removals').selectAll().where('project_id', '=', projectId).execute();
  await eventually(async () => (await unended(projectId)) === 0);
  expect(await removals()).not.toEqual([]);
  await expireDueBranches(t.context);
  await eventually(async () => (await removals()).length === 0);
  const left = [...t.host.volumes].filter(([, volume]) => volume.projectId === projectId).map(([id]) => id);
  expect(left).toEqual([parent.id]);
  expect([...t.host.endpoints.values()].filter(({ spec }) => spec.projectId === projectId)).toHaveLength(1);
  expect(t.host.endpoints.has(idOf({ endpoints: parents }))).toBe(true);
});

test('a branch expires, and 7 days later it is gone', async () => {
  const { projectId, branch: root } = await newProject();
  const { branches } = t.platform;
  const { branch } = await branches.create(t.principal, projectId, { expiresAt: inHours(1) });
  expect(branch.ttlSeconds).toBeGreaterThan(3590);
  const refused = { code: 'CONFLICT' };
  await expect(branches.create(t.principal, projectId, { parentId: branch.id })).rejects.toMatchObject(refused);
  await expect(branches.setDefault(t.principal, projectId, branch.id)).rejects.toMatchObject(refused);
  const update = (id: string, input: object) => branches.update(t.principal, projectId, id, input);
  await expect(update(branch.id, { isProtected: true })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  await expect(update(root.id, { expiresAt: inHours(1) })).rejects.toMatchObject(refused);
  await expect(update(branch.id, { expiresAt: inHours(31 * 24) })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  await expect(update(branch.id, { expiresAt: new Date(0) })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  expect((await update(branch.id, { expiresAt: null })).branch).toMatchObject({ expiresAt: null, ttlSeconds: null });
  await update(branch.id, { expiresAt: inHours(2) });

  const exists = async (): Promise<boolean> =>
    (await branches.list(t.principal, projectId, { limit: 10, includeDeleted: true })).items.some(
      ({ id, deletedAt }) => id === branch.id && deletedAt === null,
    );
  await expireDueBranches(t.context);
  expect(await exists()).toBe(true);
  aheadMs += 2 * 3_600_000;
  await expireDueBranches(t.context);
  expect(await exists()).toBe(false);
  expect(t.host.volumes.has(branch.id)).toBe(true);
  aheadMs += 7 * 24 * 3_600_000;
  await expect(branches.recover(t.principal, projectId, branch.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expireDueBranches(t.context);
  await eventually(async () => !t.host.volumes.has(branch.id));
});

test('endpoints come and go', async () => {
  const { projectId, branch, endpoints: first } = await newProject();
  const { endpoints } = t.platform;
  const create = (input: object) =>
    endpoints.create(t.principal, projectId, { branchId: branch.id, type: 'read_write', ...input });
  await expect(create({})).rejects.toMatchObject({ code: 'CONFLICT' });
  const replica = await create({ type: 'read_only', name: 'reports' });
  expect(replica.operations.map((o) => o.action)).toEqual(['apply_config', 'start_compute']);
  await eventually(async () => t.host.endpoints.get(replica.endpoint.id)?.state === 'active');
  const { volumeId } = must(t.host.endpoints.get(replica.endpoint.id)).spec;

  const gone = await endpoints.delete(t.principal, projectId, idOf({ endpoints: first }));
  expect(gone.operations.map((o) => [o.action, o.status])).toEqual([['suspend_compute', 'finished']]);
  expect(await findDirectoryEntry(t.database.db, idOf({ endpoints: first }))).toBeUndefined();
  expect(t.host.endpoints.has(idOf({ endpoints: first }))).toBe(false);
  await endpoints.delete(t.principal, projectId, replica.endpoint.id);
  expect(t.host.volumes.has(volumeId)).toBe(false);
  expect(t.host.volumes.has(branch.id)).toBe(true);

  // What SQL does on the new endpoint is seen, although its changes are counted anew.
  const { endpoint } = await create({});
  await eventually(async () => t.host.endpoints.get(endpoint.id)?.state === 'active');
  t.host.endpoints.get(endpoint.id)?.databases.set('by_sql', 'neondb_owner');
  t.host.report(endpoint.id);
  await eventually(async () =>
    namesOf(await t.platform.databases.list(t.principal, projectId, branch.id)).includes('by_sql'),
  );
});

test('the history of all volumes is kept as long as the project says', async () => {
  const { projectId, branch } = await newProject();
  const child = await t.platform.branches.create(t.principal, projectId, {});
  const { operations } = await t.platform.projects.update(t.principal, projectId, { historyRetentionSeconds: 3600 });
  expect(operations.map((o) => [o.action, o.status])).toEqual([['apply_storage_config', 'finished']]);
  for (const id of [branch.id, child.branch.id]) {
    expect(t.host.volumes.get(id)?.historyRetentionSeconds).toBe(3600);
  }
});

test('a deleted project leaves no volume of any kind', async () => {
  const { projectId } = await newProject();
  const input = { endpoints: [{ type: 'read_only' }] } as const;
  await t.platform.branches.create(t.principal, projectId, input);
  const { branch } = await t.platform.branches.create(t.principal, projectId, {});
  await t.platform.branches.delete(t.principal, projectId, branch.id, { isHard: false });
  await t.platform.projects.delete(t.principal, projectId);
  await eventually(async () => [...t.host.volumes.values()].every((volume) => volume.projectId !== projectId));
});

const inHours = (hours: number): Date => new Date(Date.now() + aheadMs + hours * 3_600_000);

async function unended(projectId: string): Promise<number> {
  const rows = await t.database.db
    .selectFrom('operations')
    .select('id')
    .where('project_id', '=', projectId)
    .where('ended_at', 'is', null)
    .execute();
  return rows.length;
}
