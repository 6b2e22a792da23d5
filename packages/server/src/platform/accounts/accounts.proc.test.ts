import { expect, test } from 'vitest';
import { Secret } from '../../kernel/secret.ts';
import { eventually, TEST_ADMIN_KEY, testPlatform } from '../testing/test-platform.ts';
import { createPlatform } from '../create-platform.ts';
import { bootstrap } from './bootstrap.ts';

const from = '127.0.0.1';
const refused = { code: 'UNAUTHENTICATED' };

test('the first start makes one user and one organization, and others change nothing', async () => {
  await using t = await testPlatform({ followsReports: false });
  await Promise.all([1, 2, 3].map(() => bootstrap(t.context, new Secret(TEST_ADMIN_KEY))));
  const me = await t.platform.accounts.me(t.principal);
  expect(me).toMatchObject({ id: t.principal.userId, projectsLimit: 100_000 });
  const organizations = await t.platform.accounts.organizations(t.principal);
  expect(organizations.map((o) => o.id)).toEqual(t.principal.organizationIds);
  expect(organizations).toHaveLength(1);
  expect(await t.platform.apiKeys.list(t.principal)).toHaveLength(1);
});

test("another key of the operator's replaces the last one", async () => {
  await using t = await testPlatform({ followsReports: false });
  const second = 'another-admin-key-9876543210';
  await bootstrap(t.context, new Secret(second));
  // As after a restart: nothing is remembered.
  const restarted = createPlatform(t.context, t.engine);
  await expect(restarted.accounts.authenticate(TEST_ADMIN_KEY, from)).rejects.toMatchObject(refused);
  expect(await restarted.accounts.authenticate(second, from)).toMatchObject({ userId: t.principal.userId });
  await bootstrap(t.context, new Secret(TEST_ADMIN_KEY));
  expect(await createPlatform(t.context, t.engine).accounts.authenticate(TEST_ADMIN_KEY, from)).toBeDefined();
});

test('a key works until it is revoked, and from then on at no time', async () => {
  await using t = await testPlatform({ followsReports: false });
  const { apiKey, key } = await t.platform.apiKeys.create(t.principal, 'ci');
  const principal = await t.platform.accounts.authenticate(key.reveal(), '10.0.0.9');
  expect(principal).toMatchObject({ kind: 'user', apiKeyId: apiKey.id, userId: t.principal.userId });
  await eventually(async () =>
    (await t.platform.apiKeys.list(t.principal)).some(
      (k) => k.id === apiKey.id && k.lastUsedFromAddress === '10.0.0.9',
    ),
  );
  expect((await t.platform.apiKeys.revoke(t.principal, apiKey.id)).name).toBe('ci');
  await expect(t.platform.accounts.authenticate(key.reveal(), from)).rejects.toMatchObject(refused);
  expect((await t.platform.apiKeys.list(t.principal)).map((k) => k.name)).toEqual(['operator']);
  await expect(t.platform.apiKeys.revoke(t.principal, apiKey.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('a key that another process revoked is forgotten soon', async () => {
  let now = Date.UTC(2026, 0, 1);
  await using t = await testPlatform({ followsReports: false, now: () => new Date(now) });
  const { apiKey, key } = await t.platform.apiKeys.create(t.principal, 'ci');
  await t.platform.accounts.authenticate(key.reveal(), from);
  await createPlatform(t.context, t.engine).apiKeys.revoke(t.principal, apiKey.id);
  now += 31_000;
  await expect(t.platform.accounts.authenticate(key.reveal(), from)).rejects.toMatchObject(refused);
});

test('anything but a key of ours is refused', async () => {
  await using t = await testPlatform({ followsReports: false });
  const wrong = [
    '',
    'short',
    'wrong-key-but-long-enough',
    'x'.repeat(10_000),
    `${TEST_ADMIN_KEY}\0`,
    `${TEST_ADMIN_KEY} `,
  ];
  for (const key of wrong) await expect(t.platform.accounts.authenticate(key, from)).rejects.toMatchObject(refused);
});

test('keys are stored hashed', async () => {
  await using t = await testPlatform({ followsReports: false });
  const { key } = await t.platform.apiKeys.create(t.principal, 'ci');
  const rows = await t.database.db.selectFrom('api_keys').selectAll().execute();
  expect(JSON.stringify(rows)).not.toContain(key.reveal());
});

test("a user cannot see or revoke another's keys, nor the operator's by mistake", async () => {
  await using t = await testPlatform({ followsReports: false });
  const stranger = await t.stranger();
  const { apiKey } = await t.platform.apiKeys.create(t.principal, 'ci');
  expect(await t.platform.apiKeys.list(stranger)).toEqual([]);
  await expect(t.platform.apiKeys.revoke(stranger, apiKey.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(t.platform.apiKeys.revoke(t.principal, t.principal.apiKeyId)).rejects.toMatchObject({
    code: 'CONFLICT',
  });
  const scoped = { ...t.principal, kind: 'organization' } as const;
  await expect(t.platform.apiKeys.create(scoped, 'x')).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(t.platform.apiKeys.create(t.principal, '')).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
});
