import { expect, test } from 'vitest';
import { PlatformError } from '../../kernel/errors.ts';
import { findDirectoryEntry } from '../directory/directory-rows.ts';
import type { CreateProjectInput } from '../platform.ts';
import { reconcile } from '../reports/reconcile.ts';
import { eventually, testPlatform, type TestPlatform } from '../testing/test-platform.ts';

const noSpace = () => new PlatformError('NO_SPACE', 'Cannot create the volume: the disk is full');

async function countRows({ database }: TestPlatform): Promise<number> {
  const tables = ['projects', 'branches', 'endpoints', 'roles', 'databases', 'catalog_changes'] as const;
  const counts = await Promise.all(
    tables.map((table) =>
      database.db
        .selectFrom(table)
        .select((e) => e.fn.countAll().as('n'))
        .executeTakeFirst(),
    ),
  );
  return counts.reduce((sum, row) => sum + Number(row?.n), 0);
}

test('a new project has a branch, an endpoint, a role, a database and a way in', async () => {
  await using t = await testPlatform({ settings: { pgPort: 5433 } });
  const created = await t.platform.projects.create(t.principal, { name: 'acme', regionId: 'aws-us-east-2' });

  expect(created.project).toMatchObject({ name: 'acme', regionId: 'aws-us-east-2', pgVersion: 17 });
  expect(created.branch).toMatchObject({ name: 'main', isDefault: true, state: 'ready', pendingState: null });
  expect(created.endpoints).toMatchObject([
    { minCu: 0.25, maxCu: 0.25, suspendTimeoutSeconds: 0, hostname: 'localhost', type: 'read_write' },
  ]);
  expect(created.role.name).toBe('neondb_owner');
  expect(created.database).toMatchObject({ name: 'neondb', ownerName: 'neondb_owner' });
  expect(created.operations.map((o) => o.action)).toEqual(['create_timeline', 'start_compute']);
  expect(created.operations[0]?.status).toBe('finished');
  const password = created.password.reveal();
  expect(created.connection.connectionUri).toBe(
    `postgresql://neondb_owner:${password}@localhost:5433/neondb?options=endpoint%3D${created.endpoints[0]?.id}`,
  );
  expect([...t.host.volumes.keys()]).toEqual([created.branch.id]);

  const endpoint = await eventually(async () => {
    const [e] = await t.platform.endpoints.list(t.principal, created.project.id);
    return e?.state === 'active' && e;
  });
  expect(endpoint.pendingState).toBeNull();
  const { roles } = t.platform;
  const revealed = await roles.revealPassword(t.principal, created.project.id, created.branch.id, 'neondb_owner');
  expect(revealed.reveal()).toBe(password);
});

test('while the disk is full nothing is written that would need a volume', async () => {
  await using t = await testPlatform();
  const { project, branch } = await t.platform.projects.create(t.principal, {});
  const before = await countRows(t);
  t.host.isDiskFull = true;
  const refused = { code: 'NO_SPACE' };
  const { projects, branches, snapshots, endpoints } = t.platform;
  await expect(projects.create(t.principal, {})).rejects.toMatchObject(refused);
  await expect(branches.create(t.principal, project.id, {})).rejects.toMatchObject(refused);
  await expect(snapshots.create(t.principal, project.id, branch.id, {})).rejects.toMatchObject(refused);
  const replica = { branchId: branch.id, type: 'read_only' } as const;
  await expect(endpoints.create(t.principal, project.id, replica)).rejects.toMatchObject(refused);
  expect(await countRows(t)).toBe(before);
});

test('the directory knows a new project before the answer', async () => {
  const confirmed: number[] = [];
  await using t = await testPlatform({ barrier: async (seq) => void confirmed.push(seq) });
  const { endpoints } = await t.platform.projects.create(t.principal, {});
  const entry = await findDirectoryEntry(t.database.db, endpoints[0]?.id ?? '');
  expect(entry?.roles['neondb_owner']).toMatch(/^SCRAM-SHA-256\$/);
  expect(confirmed.length).toBeGreaterThan(0);
});

test('names that differ from the template are given at the first start', async () => {
  await using t = await testPlatform();
  const { endpoints, project } = await t.platform.projects.create(t.principal, {
    branch: { name: 'trunk', roleName: 'O\'Brien "x"', databaseName: 'müller/@' },
  });
  expect(project.name).toBe(project.id);
  const endpointId = endpoints[0]?.id ?? 'ep-';
  const endpoint = await eventually(async () => {
    const fake = t.host.endpoints.get(endpointId);
    return fake?.databases.has('müller/@') && fake;
  });
  expect([...endpoint.roles.keys()]).toEqual(['O\'Brien "x"']);
  expect(endpoint.databases.get('müller/@')).toBe('O\'Brien "x"');
});

test('a full disk gives its error and leaves nothing', async () => {
  await using t = await testPlatform();
  t.host.failNext('createVolume', noSpace());
  await expect(t.platform.projects.create(t.principal, {})).rejects.toMatchObject({
    code: 'NO_SPACE',
    message: 'Cannot create the volume: the disk is full',
  });
  expect(await countRows(t)).toBe(0);
  expect(t.host.volumes.size).toBe(0);
  expect(t.host.endpoints.size).toBe(0);
  const { items } = await t.platform.projects.list(t.principal, { limit: 10 });
  expect(items).toEqual([]);
  await expect(t.platform.projects.create(t.principal, {})).resolves.toBeDefined();
});

test('a disk that is full only for the endpoint leaves no volume either', async () => {
  await using t = await testPlatform();
  t.host.failNext('applySpec', noSpace());
  await expect(t.platform.projects.create(t.principal, {})).rejects.toMatchObject({ code: 'NO_SPACE' });
  expect(await countRows(t)).toBe(0);
  expect(t.host.volumes.size).toBe(0);
});

test('an engine that is missing or unknown is refused before there is anything', async () => {
  await using t = await testPlatform();
  await expect(t.platform.projects.create(t.principal, { pgVersion: 16 })).rejects.toMatchObject({
    code: 'ENGINE_NOT_INSTALLED',
    message: expect.stringContaining('./tenantry engine install 16'),
  });
  await expect(t.platform.projects.create(t.principal, { pgVersion: 13 })).rejects.toMatchObject({
    code: 'UNKNOWN_PG_VERSION',
  });
  expect(await countRows(t)).toBe(0);
  t.host.engines.push(16);
  await expect(t.platform.projects.create(t.principal, { pgVersion: 16 })).resolves.toBeDefined();
});

test('a host that is away for a while delays a project, no more', async () => {
  await using t = await testPlatform({ settings: { answerWaitMs: 50 } });
  await t.platform.projects.create(t.principal, {});
  t.host.setUnavailable(true);
  const { project, branch, operations } = await t.platform.projects.create(t.principal, {});
  expect(branch).toMatchObject({ state: 'init', pendingState: 'ready' });
  expect(operations[0]?.status).not.toBe('finished');
  t.host.setUnavailable(false);
  await eventually(async () => (await t.platform.branches.get(t.principal, project.id, branch.id)).state === 'ready');
});

test('what a field does not take is refused by its name, before there is anything', async () => {
  await using t = await testPlatform({ followsReports: false });
  const refused: readonly (readonly [CreateProjectInput, string])[] = [
    [{ name: '' }, 'project.name'],
    [{ name: 'x'.repeat(257) }, 'project.name'],
    [{ name: 'a\u0000b' }, 'project.name'],
    [{ name: '\ud800' }, 'project.name'],
    [{ regionId: 'Nowhere!' }, 'project.region_id'],
    [{ historyRetentionSeconds: 2_592_001 }, 'project.history_retention_seconds'],
    [{ historyRetentionSeconds: 1.5 }, 'project.history_retention_seconds'],
    [{ branch: { name: ' ' } }, 'project.branch.name'],
    [{ branch: { roleName: 'x'.repeat(64) } }, 'project.branch.role_name'],
    [{ branch: { roleName: 'cloud_admin' } }, 'project.branch.role_name'],
    [{ branch: { roleName: 'PG_monitor' } }, 'project.branch.role_name'],
    [{ branch: { databaseName: 'postgres' } }, 'project.branch.database_name'],
    [{ branch: { databaseName: 'ü'.repeat(32) } }, 'project.branch.database_name'],
    [{ defaultEndpointSettings: { suspendTimeoutSeconds: 59 } }, 'suspend_timeout_seconds'],
    [{ defaultEndpointSettings: { autoscalingLimitMinCu: 3, autoscalingLimitMaxCu: 2 } }, 'min_cu'],
    [{ settings: { allowedIps: { ips: ['10.0.0.0/33'] } } }, 'allowed_ips'],
    [{ settings: { hipaa: true } }, 'hipaa'],
    [{ settings: { quota: { activeTimeSeconds: -1 } } }, 'quota.active_time_seconds'],
  ];
  for (const [input, field] of refused) {
    await expect(t.platform.projects.create(t.principal, input)).rejects.toMatchObject({
      code: expect.stringMatching(/^(INVALID_REQUEST|RESERVED_NAME)$/),
      message: expect.stringContaining(field),
    });
  }
  expect(await countRows(t)).toBe(0);
});

test('a deleted project is gone at once for clients, soon after on the host, and keeps its usage', async () => {
  await using t = await testPlatform();
  const { project, endpoints } = await t.platform.projects.create(t.principal, {});
  const endpointId = endpoints[0]?.id ?? '';
  await eventually(async () => t.host.calls.some((call) => call.startsWith('applyCatalog')));

  const deleted = await t.platform.projects.delete(t.principal, project.id);
  expect(deleted.id).toBe(project.id);
  await expect(t.platform.projects.get(t.principal, project.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(t.platform.projects.delete(t.principal, project.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(await findDirectoryEntry(t.database.db, endpointId)).toBeUndefined();

  await eventually(async () => (await countRows(t)) === 0);
  expect(t.host.endpoints.size).toBe(0);
  expect(t.host.volumes.size).toBe(0);
  // Its last usage comes after it.
  const listRuns = () => t.database.db.selectFrom('compute_runs').select(['project_id', 'ended']).execute();
  await eventually(async () => (await listRuns()).some((run) => run.ended) && t.host.removed.size === 0);
  expect(await listRuns()).toEqual([{ project_id: project.id, ended: true }]);
});

test('a deletion whose operation was lost is ordered again', async () => {
  await using t = await testPlatform();
  const { project, operations } = await t.platform.projects.create(t.principal, {});
  await t.engine.waitFor(
    operations.map((o) => o.id),
    5_000,
  );
  await t.database.db.updateTable('projects').set({ deleted_at: new Date() }).where('id', '=', project.id).execute();
  await reconcile(t.context, new AbortController().signal);
  await eventually(async () => (await countRows(t)) === 0);
  expect(t.host.volumes.size).toBe(0);
});

test('projects are listed newest first, page by page, and found by name or id', async () => {
  await using t = await testPlatform({ followsReports: false });
  const names = ['alpha', '50%_off', 'gamma'];
  for (const name of names) await t.platform.projects.create(t.principal, { name });
  const first = await t.platform.projects.list(t.principal, { limit: 2 });
  expect(first.items.map((p) => p.name)).toEqual(['gamma', '50%_off']);
  const second = await t.platform.projects.list(t.principal, { limit: 2, cursor: first.nextCursor ?? '' });
  expect(second.items.map((p) => p.name)).toEqual(['alpha']);
  expect(second.nextCursor).toBeUndefined();
  const found = await t.platform.projects.list(t.principal, { limit: 10, search: '%_O' });
  expect(found.items.map((p) => p.name)).toEqual(['50%_off']);
  const [gamma] = first.items;
  expect((await t.platform.projects.list(t.principal, { limit: 10, search: gamma?.id ?? '' })).items).toHaveLength(1);
  await expect(t.platform.projects.list(t.principal, { limit: 2, cursor: 'junk' })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  });
});

test('to another organization all of a project is not found', async () => {
  await using t = await testPlatform();
  const stranger = await t.stranger();
  const { project, branch, endpoints, operations } = await t.platform.projects.create(t.principal, {});
  const { platform } = t;
  const ids = [project.id, branch.id] as const;
  const endpointId = endpoints[0]?.id ?? '';
  const attempts = [
    platform.projects.get(stranger, project.id),
    platform.projects.update(stranger, project.id, { name: 'mine' }),
    platform.projects.delete(stranger, project.id),
    platform.projects.connection(stranger, project.id, { databaseName: 'neondb', roleName: 'neondb_owner' }),
    platform.branches.list(stranger, project.id, { limit: 10 }),
    platform.branches.get(stranger, ...ids),
    platform.endpoints.list(stranger, project.id),
    platform.endpoints.get(stranger, project.id, endpointId),
    platform.endpoints.update(stranger, project.id, endpointId, { disabled: true }),
    platform.endpoints.start(stranger, project.id, endpointId),
    platform.endpoints.suspend(stranger, project.id, endpointId),
    platform.endpoints.restart(stranger, project.id, endpointId),
    platform.roles.list(stranger, ...ids),
    platform.roles.get(stranger, ...ids, 'neondb_owner'),
    platform.roles.create(stranger, ...ids, { name: 'evil' }),
    platform.roles.delete(stranger, ...ids, 'neondb_owner'),
    platform.roles.resetPassword(stranger, ...ids, 'neondb_owner'),
    platform.roles.revealPassword(stranger, ...ids, 'neondb_owner'),
    platform.databases.list(stranger, ...ids),
    platform.databases.get(stranger, ...ids, 'neondb'),
    platform.databases.create(stranger, ...ids, { name: 'x', ownerName: 'neondb_owner' }),
    platform.databases.update(stranger, ...ids, 'neondb', { name: 'x' }),
    platform.databases.delete(stranger, ...ids, 'neondb'),
    platform.operations.list(stranger, project.id, { limit: 10 }),
    platform.operations.get(stranger, project.id, operations[0]?.id ?? ''),
  ];
  const outcomes = await Promise.allSettled(attempts);
  const codes = outcomes.map((o) => (o.status === 'rejected' && o.reason instanceof PlatformError ? o.reason.code : o));
  expect(new Set(codes)).toEqual(new Set(['NOT_FOUND']));
  expect((await platform.projects.list(stranger, { limit: 10 })).items).toEqual([]);

  // Nor with a project of their own in the path.
  const own = await platform.projects.create(stranger, {});
  await expect(platform.branches.get(stranger, own.project.id, branch.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(platform.endpoints.get(stranger, own.project.id, endpointId)).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  await expect(platform.operations.get(stranger, own.project.id, operations[0]?.id ?? '')).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

test('a key of one project reaches that project only', async () => {
  await using t = await testPlatform({ followsReports: false });
  const one = await t.platform.projects.create(t.principal, { name: 'one' });
  const two = await t.platform.projects.create(t.principal, { name: 'two' });
  const key = { ...t.principal, kind: 'project', projectId: one.project.id } as const;
  expect((await t.platform.projects.list(key, { limit: 10 })).items.map((p) => p.name)).toEqual(['one']);
  await expect(t.platform.projects.get(key, two.project.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(t.platform.projects.create(key, {})).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(t.platform.projects.delete(key, one.project.id)).rejects.toMatchObject({ code: 'FORBIDDEN' });
});

test('whoever is in several organizations must name one', async () => {
  await using t = await testPlatform({ followsReports: false });
  const stranger = await t.stranger();
  const both = { ...t.principal, organizationIds: [...t.principal.organizationIds, ...stranger.organizationIds] };
  await expect(t.platform.projects.create(both, {})).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
    message: 'org_id is required, you can find it on your organization settings page',
  });
  const [organizationId] = stranger.organizationIds;
  const { project } = await t.platform.projects.create(both, { ...(organizationId && { organizationId }) });
  expect(project.organizationId).toBe(organizationId);
  await expect(t.platform.projects.create(t.principal, { organizationId: 'org-x' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

test('updated settings reach gateways and the host, and only where they matter', async () => {
  await using t = await testPlatform();
  const { project, endpoints } = await t.platform.projects.create(t.principal, {});
  const endpointId = endpoints[0]?.id ?? 'ep-';
  const renamed = await t.platform.projects.update(t.principal, project.id, { name: 'new name' });
  expect(renamed).toMatchObject({ project: { name: 'new name' }, operations: [] });

  await t.platform.projects.update(t.principal, project.id, { settings: { allowedIps: { ips: ['10.1.2.3'] } } });
  expect((await findDirectoryEntry(t.database.db, endpointId))?.allowedIps).toEqual(['10.1.2.3']);

  const { operations } = await t.platform.projects.update(t.principal, project.id, {
    defaultEndpointSettings: { suspendTimeoutSeconds: 120 },
  });
  expect(operations.map((o) => [o.action, o.status])).toEqual([['apply_config', 'finished']]);
  expect(t.host.endpoints.get(endpointId)?.spec.suspendTimeoutSeconds).toBe(120);
});

test('a connection URI is given for branch, role and database, if the password is stored', async () => {
  await using t = await testPlatform({ settings: { domain: 'db.example.com' } });
  const { project, connection, endpoints } = await t.platform.projects.create(t.principal, {});
  const query = { databaseName: 'neondb', roleName: 'neondb_owner' };
  expect((await t.platform.projects.connection(t.principal, project.id, query)).connectionUri).toBe(
    connection.connectionUri,
  );
  const pooled = await t.platform.projects.connection(t.principal, project.id, { ...query, pooled: true });
  expect(pooled.connectionUri).toContain(`@${endpoints[0]?.id}-pooler.db.example.com/neondb?sslmode=require`);
  await expect(
    t.platform.projects.connection(t.principal, project.id, { ...query, databaseName: 'none' }),
  ).rejects.toMatchObject({ code: 'NOT_FOUND' });

  const secretive = await t.platform.projects.create(t.principal, { storePasswords: false });
  await expect(t.platform.projects.connection(t.principal, secretive.project.id, query)).rejects.toMatchObject({
    code: 'CONFLICT',
  });
});
