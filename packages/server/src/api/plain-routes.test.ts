import { expect, test } from 'vitest';
import { PlatformError } from '../kernel/errors.ts';
import { TEST_KEY } from './testing/memory-platform.ts';
import { createTestApi } from './testing/test-api.ts';

test('the start page says what this is', async () => {
  const response = await createTestApi().server.app.inject('/');
  expect(response.json()).toMatchObject({ name: 'Tenantry', api: '/api/v2', openapi: '/api/v2/openapi.json' });
});

test('health needs no key: 200 while all parts serve, else 503 with the part that does not', async () => {
  const well = await createTestApi().server.app.inject('/healthz');
  expect([well.statusCode, well.json()]).toEqual([200, { ok: true, parts: { host: 'ok' }, version: '0.0.0' }]);
  const health = async () => ({ ok: false, parts: { host: 'does not answer' } });
  const ill = await createTestApi({ health }).server.app.inject('/healthz');
  expect([ill.statusCode, ill.json()]).toEqual([
    503,
    { ok: false, parts: { host: 'does not answer' }, version: '0.0.0' },
  ]);
});

test('metrics are for this machine, and for others with the key of a user', async () => {
  const { server } = createTestApi();
  const ask = async (headers: Record<string, string>, remoteAddress = '127.0.0.1') =>
    (await server.app.inject({ url: '/metrics', headers, remoteAddress })).statusCode;
  expect(await ask({})).toBe(200);
  expect(await ask({}, '::ffff:127.0.0.1')).toBe(200);
  expect(await ask({}, '192.0.2.1')).toBe(401);
  expect(await ask({ 'x-forwarded-for': '192.0.2.1' })).toBe(401);
  expect(await ask({ authorization: `Bearer ${TEST_KEY}` }, '192.0.2.1')).toBe(200);
  const { headers, body } = await server.app.inject('/metrics');
  expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(body).toBe('tenantry_up 1\n');
});

test('status is for the key of a user, and finds the project of an endpoint', async () => {
  const { server } = createTestApi({
    findEndpoint: async (endpointId) => (endpointId === 'ep-a' ? { projectId: 'a-b-1' } : undefined),
  });
  const ask = async (url: string, headers: Record<string, string> = { authorization: `Bearer ${TEST_KEY}` }) => {
    const response = await server.app.inject({ url, headers });
    return [response.statusCode, response.json()];
  };
  expect(await ask('/status', {})).toMatchObject([401, { code: 'UNAUTHENTICATED' }]);
  expect(await ask('/status')).toEqual([200, { version: '0.0.0' }]);
  expect(await ask('/status/endpoints/ep-a')).toEqual([200, { endpoint_id: 'ep-a', project_id: 'a-b-1' }]);
  expect(await ask('/status/endpoints/ep-b')).toMatchObject([404, { code: 'NOT_FOUND' }]);
  expect(await ask('/status/endpoints/%00')).toMatchObject([404, { code: 'NOT_FOUND' }]);
});

test('the key of the operator shows the status while the metadata is away, others do not', async () => {
  const { server, platform } = createTestApi({ isOperatorKey: (key) => key === 'operator' });
  Object.assign(platform.accounts, {
    authenticate: async () => await Promise.reject(new PlatformError('METADATA_UNAVAILABLE', 'away')),
  });
  const ask = async (url: string, key: string) =>
    (await server.app.inject({ url, headers: { authorization: `Bearer ${key}` }, remoteAddress: '192.0.2.1' }))
      .statusCode;
  expect([await ask('/status', 'operator'), await ask('/metrics', 'operator')]).toEqual([200, 200]);
  expect([await ask('/status', 'other'), await ask('/metrics', 'other')]).toEqual([503, 503]);
});

test('storage is shown and grown with the key of a user', async () => {
  const asked: unknown[] = [];
  const { server } = createTestApi({
    storage: async (projectId) => ({ asked: asked.push(projectId) }),
    growStorage: async (bytesMax) => ({ asked: asked.push(bytesMax) }),
  });
  const ask = async (method: 'GET' | 'POST', url: string, key = `Bearer ${TEST_KEY}`) =>
    (await server.app.inject({ method, url, headers: { authorization: key } })).statusCode;
  expect(await ask('GET', '/status/storage', '')).toBe(401);
  expect(await ask('POST', '/status/storage/grow', '')).toBe(401);
  expect(await ask('GET', '/status/storage')).toBe(200);
  expect(await ask('GET', '/status/storage?project_id=a-b-1')).toBe(200);
  expect(await ask('POST', '/status/storage/grow')).toBe(200);
  expect(await ask('POST', '/status/storage/grow?bytes_max=5000000000')).toBe(200);
  for (const bad of ['-1', '1e9', '', '1&bytes_max=2', '9'.repeat(16)]) {
    expect(await ask('POST', `/status/storage/grow?bytes_max=${bad}`)).toBe(400);
  }
  expect(asked).toEqual([undefined, 'a-b-1', null, 5_000_000_000]);
});

test('every answer is reported for metrics, by operation and not by URL', async () => {
  const answers: object[] = [];
  const api = createTestApi({ onAnswer: (answer) => answers.push(answer) });
  await api.call('GET', '/projects/a-b-1');
  await api.call('GET', '/nope');
  expect(answers).toMatchObject([
    { operationId: 'getProject', method: 'GET', status: 404 },
    { operationId: 'other', method: 'GET', status: 404 },
  ]);
});
