import { expect, test } from 'vitest';
import { PlatformError } from '../../kernel/errors.ts';
import { findDirectoryEntry } from '../directory/directory-rows.ts';
import { eventually, testPlatform, type TestPlatform } from '../testing/test-platform.ts';

async function awakeEndpoint(t: TestPlatform) {
  const { project, endpoints, operations } = await t.platform.projects.create(t.principal, {});
  await t.engine.waitFor(
    operations.map((o) => o.id),
    5_000,
  );
  return { projectId: project.id, endpointId: endpoints[0]?.id ?? ('ep-' as const) };
}

test('an endpoint is suspended, started and restarted, and the answer shows it', async () => {
  await using t = await testPlatform();
  const { projectId, endpointId } = await awakeEndpoint(t);
  const { endpoints } = t.platform;
  const suspended = await endpoints.suspend(t.principal, projectId, endpointId);
  expect(suspended.endpoint).toMatchObject({ state: 'idle', pendingState: null, suspendedAt: expect.any(Date) });
  expect(suspended.operations.map((o) => [o.action, o.status])).toEqual([['suspend_compute', 'finished']]);

  await expect(endpoints.restart(t.principal, projectId, endpointId)).rejects.toMatchObject({ code: 'CONFLICT' });

  const started = await endpoints.start(t.principal, projectId, endpointId);
  expect(started.endpoint).toMatchObject({ state: 'active', pendingState: null });
  expect(started.operations.map((o) => [o.action, o.status])).toEqual([['start_compute', 'finished']]);
  const restarted = await endpoints.restart(t.principal, projectId, endpointId);
  expect(restarted.endpoint.state).toBe('active');
  expect((await endpoints.suspend(t.principal, projectId, endpointId)).endpoint.state).toBe('idle');
  expect((await endpoints.suspend(t.principal, projectId, endpointId)).endpoint.state).toBe('idle');
});

test('an update reaches the host; one that changes nothing has no operation', async () => {
  await using t = await testPlatform();
  const { projectId, endpointId } = await awakeEndpoint(t);
  const { endpoints } = t.platform;
  const input = { minCu: 1, maxCu: 4, suspendTimeoutSeconds: 120, pgSettings: { work_mem: '8MB' }, name: 'main one' };
  const { endpoint, operations } = await endpoints.update(t.principal, projectId, endpointId, input);
  expect(endpoint).toMatchObject(input);
  expect(operations.map((o) => [o.action, o.status])).toEqual([['apply_config', 'finished']]);
  const spec = t.host.endpoints.get(endpointId)?.spec;
  expect(spec).toMatchObject({ minCu: 1, maxCu: 4, suspendTimeoutSeconds: 120, pgSettings: { work_mem: '8MB' } });

  expect((await endpoints.update(t.principal, projectId, endpointId, input)).operations).toEqual([]);
  expect((await endpoints.update(t.principal, projectId, endpointId, { name: 'other' })).operations).toEqual([]);
  expect(t.host.endpoints.get(endpointId)?.spec.generation).toBe(spec?.generation);
  await expect(endpoints.update(t.principal, projectId, endpointId, { maxCu: 12 })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  });
});

test('two updates at once both hold', async () => {
  await using t = await testPlatform();
  const { projectId, endpointId } = await awakeEndpoint(t);
  await Promise.all([
    t.platform.endpoints.update(t.principal, projectId, endpointId, { suspendTimeoutSeconds: 90 }),
    t.platform.endpoints.update(t.principal, projectId, endpointId, { minCu: 1, maxCu: 2 }),
  ]);
  const wanted = { suspendTimeoutSeconds: 90, minCu: 1, maxCu: 2 };
  expect(await t.platform.endpoints.get(t.principal, projectId, endpointId)).toMatchObject(wanted);
  expect(t.host.endpoints.get(endpointId)?.spec).toMatchObject(wanted);
});

test('settings that Postgres refuses are put back, and the host keeps what it had', async () => {
  await using t = await testPlatform();
  const { projectId, endpointId } = await awakeEndpoint(t);
  const { endpoints } = t.platform;
  await endpoints.update(t.principal, projectId, endpointId, { pgSettings: { work_mem: '7MB' } });
  t.host.failNext('applySpec', new PlatformError('INVALID_REQUEST', 'Cannot use pg_settings: no such time zone'));
  const refused = endpoints.update(t.principal, projectId, endpointId, { pgSettings: { timezone: 'nope' } });
  await expect(refused).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
    message: expect.stringContaining('no such time zone'),
  });
  const wanted = { pgSettings: { work_mem: '7MB' } };
  expect(await endpoints.get(t.principal, projectId, endpointId)).toMatchObject(wanted);
  expect(t.host.endpoints.get(endpointId)?.spec).toMatchObject(wanted);
});

test('a disabled endpoint sleeps and cannot be started, until it is enabled', async () => {
  await using t = await testPlatform();
  const { projectId, endpointId } = await awakeEndpoint(t);
  const { endpoints } = t.platform;
  await endpoints.update(t.principal, projectId, endpointId, { disabled: true });
  expect((await findDirectoryEntry(t.database.db, endpointId))?.disabled).toBe(true);
  expect(t.host.endpoints.get(endpointId)?.state).toBe('idle');
  await expect(endpoints.start(t.principal, projectId, endpointId)).rejects.toMatchObject({
    code: 'ENDPOINT_DISABLED',
  });
  await endpoints.update(t.principal, projectId, endpointId, { disabled: false });
  expect((await endpoints.start(t.principal, projectId, endpointId)).endpoint.state).toBe('active');
});

test('when a slow start outlasts the wait, the answer shows that it goes on', async () => {
  await using t = await testPlatform({ settings: { answerWaitMs: 20 } });
  const { projectId, endpointId } = await awakeEndpoint(t);
  await t.platform.endpoints.suspend(t.principal, projectId, endpointId);
  await eventually(async () => t.host.endpoints.get(endpointId)?.state === 'idle');
  t.host.faults.delayMs = 300;
  const { operations } = await t.platform.endpoints.start(t.principal, projectId, endpointId);
  expect(operations[0]?.status).toMatch(/scheduling|running/);
  await t.engine.ended(operations[0]?.id ?? '');
  await eventually(async () => (await t.platform.endpoints.get(t.principal, projectId, endpointId)).state === 'active');
});

test('operations of a project are listed newest first', async () => {
  await using t = await testPlatform();
  const { projectId, endpointId } = await awakeEndpoint(t);
  await t.platform.endpoints.suspend(t.principal, projectId, endpointId);
  const first = await t.platform.operations.list(t.principal, projectId, { limit: 2 });
  expect(first.items.map((o) => o.action)).toEqual(['suspend_compute', 'start_compute']);
  const second = await t.platform.operations.list(t.principal, projectId, { limit: 2, cursor: first.nextCursor ?? '' });
  expect(second.items.map((o) => o.action)).toEqual(['create_timeline']);
  const [newest] = first.items;
  const { totalDurationMs: _, ...operation } = await t.platform.operations.get(
    t.principal,
    projectId,
    newest?.id ?? '',
  );
  expect(newest).toMatchObject(operation);
  await expect(t.platform.operations.get(t.principal, projectId, 'x')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});
