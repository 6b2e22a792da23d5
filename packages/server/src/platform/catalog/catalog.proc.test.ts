import { expect, test } from 'vitest';
import type { PlatformError } from '../../kernel/errors.ts';
import { findDirectoryEntry } from '../directory/directory-rows.ts';
import type { CreatedProject } from '../platform.ts';
import { ingestReport } from '../reports/ingest-report.ts';
import { eventually, testPlatform, type TestPlatform } from '../testing/test-platform.ts';

interface Ready {
  readonly created: CreatedProject;
  readonly ids: readonly [string, string];
  readonly endpointId: `ep-${string}`;
}

/** A project whose first start has been settled. */
async function readyProject(t: TestPlatform): Promise<Ready> {
  const created = await t.platform.projects.create(t.principal, {});
  await t.engine.waitFor(
    created.operations.map((o) => o.id),
    5_000,
  );
  return { created, ids: [created.project.id, created.branch.id], endpointId: created.endpoints[0]?.id ?? 'ep-' };
}

const roleNames = async (t: TestPlatform, ids: Ready['ids']) =>
  (await t.platform.roles.list(t.principal, ...ids)).map((role) => role.name);
const databaseNames = async (t: TestPlatform, ids: Ready['ids']) =>
  (await t.platform.databases.list(t.principal, ...ids)).map((database) => database.name);

test('a role is made in the compute, can log in, and can be dropped', async () => {
  await using t = await testPlatform();
  const { ids, endpointId } = await readyProject(t);
  const { role, password, operations } = await t.platform.roles.create(t.principal, ...ids, { name: 'alice' });
  expect(role.name).toBe('alice');
  expect(operations.map((o) => [o.action, o.status])).toEqual([['apply_config', 'finished']]);
  const verifier = t.host.endpoints.get(endpointId)?.roles.get('alice');
  expect((await findDirectoryEntry(t.database.db, endpointId))?.roles['alice']).toBe(verifier);
  const revealed = await t.platform.roles.revealPassword(t.principal, ...ids, 'alice');
  expect(revealed.reveal()).toBe(password?.reveal());

  await expect(t.platform.roles.create(t.principal, ...ids, { name: 'alice' })).rejects.toMatchObject({
    code: 'ALREADY_EXISTS',
  });
  await t.platform.roles.delete(t.principal, ...ids, 'alice');
  expect(t.host.endpoints.get(endpointId)?.roles.has('alice')).toBe(false);
  expect(await roleNames(t, ids)).toEqual(['neondb_owner']);
  expect((await findDirectoryEntry(t.database.db, endpointId))?.roles).not.toHaveProperty('alice');
});

test('a role without log in has no way in and no password', async () => {
  await using t = await testPlatform();
  const { ids, endpointId } = await readyProject(t);
  const { password } = await t.platform.roles.create(t.principal, ...ids, { name: 'group', noLogin: true });
  expect(password).toBeUndefined();
  expect((await findDirectoryEntry(t.database.db, endpointId))?.roles).not.toHaveProperty('group');
  for (const verb of ['revealPassword', 'resetPassword'] as const) {
    await expect(t.platform.roles[verb](t.principal, ...ids, 'group')).rejects.toMatchObject({ code: 'CONFLICT' });
  }
  t.host.report(endpointId);
  await t.platform.endpoints.suspend(t.principal, ids[0], endpointId);
  expect(await roleNames(t, ids)).toContain('group');
});

test('a new password is valid when its operation has ended, the old one until then', async () => {
  await using t = await testPlatform({ settings: { answerWaitMs: 0 } });
  const { ids, endpointId, created } = await readyProject(t);
  const before = (await findDirectoryEntry(t.database.db, endpointId))?.roles['neondb_owner'];
  t.host.setUnavailable(true);
  const { password, operations } = await t.platform.roles.resetPassword(t.principal, ...ids, 'neondb_owner');
  expect((await findDirectoryEntry(t.database.db, endpointId))?.roles['neondb_owner']).toBe(before);
  const { roles } = t.platform;
  expect((await roles.revealPassword(t.principal, ...ids, 'neondb_owner')).reveal()).toBe(created.password.reveal());

  t.host.setUnavailable(false);
  await t.engine.ended(operations[0]?.id ?? '');
  const after = (await findDirectoryEntry(t.database.db, endpointId))?.roles['neondb_owner'];
  expect(after).not.toBe(before);
  expect(after).toBe(t.host.endpoints.get(endpointId)?.roles.get('neondb_owner'));
  expect((await roles.revealPassword(t.principal, ...ids, 'neondb_owner')).reveal()).toBe(password?.reveal());
});

test('a project that stores no passwords shows none', async () => {
  await using t = await testPlatform();
  const { project, branch } = await t.platform.projects.create(t.principal, { storePasswords: false });
  const ids = [project.id, branch.id] as const;
  await t.platform.roles.create(t.principal, ...ids, { name: 'alice' });
  await expect(t.platform.roles.revealPassword(t.principal, ...ids, 'alice')).rejects.toMatchObject({
    code: 'CONFLICT',
  });
  const stored = await t.database.db.selectFrom('roles').select('password_encrypted').execute();
  const ordered = await t.database.db.selectFrom('catalog_changes').select('password_encrypted').execute();
  expect([...stored, ...ordered].every((row) => row.password_encrypted === null)).toBe(true);
});

test('what Postgres refuses is told in its words, and the rows are as before', async () => {
  await using t = await testPlatform();
  const { ids, endpointId } = await readyProject(t);
  await t.platform.roles.create(t.principal, ...ids, { name: 'alice' });
  await t.platform.databases.create(t.principal, ...ids, { name: 'shop', ownerName: 'alice' });
  const shop = await t.platform.databases.get(t.principal, ...ids, 'shop');
  t.host.faults.refuse = ({ kind }) => `refused ${kind}`;
  const refusal = (kind: string) => ({ code: 'CATALOG_CHANGE_REFUSED', message: `refused ${kind}` });
  const { roles, databases } = t.platform;

  await expect(roles.create(t.principal, ...ids, { name: 'bob' })).rejects.toMatchObject(refusal('put_role'));
  await expect(roles.resetPassword(t.principal, ...ids, 'alice')).rejects.toMatchObject(refusal('put_role'));
  await expect(databases.create(t.principal, ...ids, { name: 'x', ownerName: 'alice' })).rejects.toMatchObject(
    refusal('create_database'),
  );
  await expect(databases.update(t.principal, ...ids, 'shop', { name: 'y' })).rejects.toMatchObject(
    refusal('update_database'),
  );
  await expect(databases.delete(t.principal, ...ids, 'shop')).rejects.toMatchObject(refusal('drop_database'));
  t.host.faults.refuse = () => undefined;
  await databases.delete(t.principal, ...ids, 'shop');
  t.host.faults.refuse = ({ kind }) => `refused ${kind}`;
  await expect(roles.delete(t.principal, ...ids, 'alice')).rejects.toMatchObject(refusal('drop_role'));

  expect(await roleNames(t, ids)).toEqual(['alice', 'neondb_owner']);
  expect(await databaseNames(t, ids)).toEqual(['neondb']);
  expect(shop.name).toBe('shop');
  expect((await findDirectoryEntry(t.database.db, endpointId))?.roles).toHaveProperty('alice');
  expect(t.host.endpoints.get(endpointId)?.spec.catalogChanges).toEqual([]);
  // Nothing is left in the way.
  t.host.faults.refuse = () => undefined;
  await roles.create(t.principal, ...ids, { name: 'bob' });
  expect(await roleNames(t, ids)).toEqual(['alice', 'bob', 'neondb_owner']);
});

test('databases are made, renamed, given away and dropped', async () => {
  await using t = await testPlatform();
  const { ids, endpointId } = await readyProject(t);
  const { databases, roles } = t.platform;
  await roles.create(t.principal, ...ids, { name: 'alice' });
  const { database } = await databases.create(t.principal, ...ids, { name: 'shop', ownerName: 'neondb_owner' });
  const renamed = await databases.update(t.principal, ...ids, 'shop', { name: 'store', ownerName: 'alice' });
  expect(renamed.database).toMatchObject({ id: database.id, name: 'store', ownerName: 'alice' });
  expect([...(t.host.endpoints.get(endpointId)?.databases ?? [])]).toEqual([
    ['neondb', 'neondb_owner'],
    ['store', 'alice'],
  ]);
  expect((await databases.update(t.principal, ...ids, 'store', { name: 'store' })).operations).toEqual([]);
  await expect(roles.delete(t.principal, ...ids, 'alice')).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining('it owns database store'),
  });
  await databases.delete(t.principal, ...ids, 'store');
  await expect(databases.get(t.principal, ...ids, 'store')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await roles.delete(t.principal, ...ids, 'alice');
});

test('bad, reserved, taken and unknown names are told apart', async () => {
  await using t = await testPlatform();
  const { ids } = await readyProject(t);
  const { databases, roles } = t.platform;
  const codes = async (...work: Promise<unknown>[]) =>
    (await Promise.allSettled(work)).map((o) => o.status === 'rejected' && (o.reason as PlatformError).code);
  expect(
    await codes(
      databases.create(t.principal, ...ids, { name: 'neondb', ownerName: 'neondb_owner' }),
      databases.create(t.principal, ...ids, { name: 'x', ownerName: 'nobody' }),
      databases.create(t.principal, ...ids, { name: 'template1', ownerName: 'neondb_owner' }),
      databases.update(t.principal, ...ids, 'neondb', { name: 'postgres' }),
      databases.update(t.principal, ...ids, 'nothing', { name: 'x' }),
      databases.get(t.principal, ...ids, 'a\0b'),
      roles.create(t.principal, ...ids, { name: 'pg_x' }),
      roles.create(t.principal, ...ids, { name: '' }),
      roles.get(t.principal, ...ids, 'a\0b'),
      roles.delete(t.principal, ...ids, 'nobody'),
      roles.list(t.principal, ids[0], 'br-nowhere'),
      roles.list(t.principal, ids[0], 'not/an id'),
    ),
  ).toEqual([
    'ALREADY_EXISTS',
    'INVALID_REQUEST',
    'RESERVED_NAME',
    'RESERVED_NAME',
    'NOT_FOUND',
    'NOT_FOUND',
    'RESERVED_NAME',
    'INVALID_REQUEST',
    'NOT_FOUND',
    'NOT_FOUND',
    'NOT_FOUND',
    'NOT_FOUND',
  ]);
});

test('commands at once are done one after another, and one name is given once', async () => {
  await using t = await testPlatform({ settings: { answerWaitMs: 5_000 } });
  const { ids, endpointId } = await readyProject(t);
  const names = ['a', 'b', 'c', 'd', 'same', 'same', 'same'];
  const outcomes = await Promise.allSettled(
    names.map((name) => t.platform.roles.create(t.principal, ...ids, { name })),
  );
  expect(outcomes.filter((o) => o.status === 'fulfilled')).toHaveLength(5);
  const refused = outcomes.flatMap((o) => (o.status === 'rejected' ? [(o.reason as PlatformError).code] : []));
  expect(refused).toEqual(['ALREADY_EXISTS', 'ALREADY_EXISTS']);
  expect(await roleNames(t, ids)).toEqual(['a', 'b', 'c', 'd', 'neondb_owner', 'same']);
  const { roles } = t.host.endpoints.get(endpointId) ?? {};
  const entry = await findDirectoryEntry(t.database.db, endpointId);
  expect(entry?.roles).toEqual(Object.fromEntries(roles ?? []));
});

test('roles and databases made, changed and dropped by SQL are followed', async () => {
  await using t = await testPlatform();
  const { ids, endpointId } = await readyProject(t);
  await t.platform.roles.create(t.principal, ...ids, { name: 'alice' });
  const compute = t.host.endpoints.get(endpointId);
  const bySql = 'SCRAM-SHA-256$4096:c2FsdA==$bySql:bySql';
  compute?.roles.set('sql_role', bySql).set('alice', bySql).set('cloud_admin', bySql);
  compute?.databases.set('sql_db', 'nologin_owner');
  t.host.report(endpointId);
  await eventually(async () => (await databaseNames(t, ids)).includes('sql_db'));
  expect(await roleNames(t, ids)).toEqual(['alice', 'neondb_owner', 'sql_role']);
  expect((await findDirectoryEntry(t.database.db, endpointId))?.roles).toMatchObject({ sql_role: bySql, alice: bySql });
  for (const name of ['alice', 'sql_role']) {
    await expect(t.platform.roles.revealPassword(t.principal, ...ids, name)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
  }
  compute?.roles.delete('sql_role');
  compute?.databases.delete('sql_db');
  t.host.report(endpointId);
  await eventually(async () => !(await databaseNames(t, ids)).includes('sql_db'));
  expect(await roleNames(t, ids)).toEqual(['alice', 'neondb_owner']);
});

test('a report from before a change does not undo it', async () => {
  await using t = await testPlatform({ followsReports: false });
  const { ids, endpointId } = await readyProject(t);
  const stale = t.host.reportOf(endpointId);
  await ingestReport(t.context, stale);
  const { password } = await t.platform.roles.create(t.principal, ...ids, { name: 'alice' });
  const fresh = t.host.reportOf(endpointId);
  // Applied, but the catalog has not been looked at again.
  await ingestReport(t.context, { ...stale, version: fresh.version - 1, catalogAppliedSeq: fresh.catalogAppliedSeq });
  expect(await roleNames(t, ids)).toContain('alice');
  await ingestReport(t.context, fresh);
  // Late, and so without effect.
  await ingestReport(t.context, stale);
  expect((await t.platform.roles.revealPassword(t.principal, ...ids, 'alice')).reveal()).toBe(password?.reveal());
});

test('a change whose operation was given up is put back', async () => {
  await using t = await testPlatform();
  const { ids, endpointId } = await readyProject(t);
  await t.platform.endpoints.update(t.principal, ids[0], endpointId, { disabled: true });
  await expect(t.platform.roles.create(t.principal, ...ids, { name: 'alice' })).rejects.toMatchObject({
    code: 'ENDPOINT_DISABLED',
  });
  expect(await roleNames(t, ids)).toEqual(['neondb_owner']);
  const pending = await t.database.db
    .selectFrom('catalog_changes')
    .select('seq')
    .where('state', '=', 'pending')
    .execute();
  expect(pending).toEqual([]);
});
