import { ERROR_CODES, type ErrorCode } from '@tenantry/contract/error-codes.ts';
import type { InjectOptions } from 'fastify';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PlatformError } from '../kernel/errors.ts';
import { STATUS_OF_KIND } from './error-response.ts';
import { TEST_KEY } from './testing/memory-platform.ts';
import { createTestApi, type TestApi } from './testing/test-api.ts';

let api: TestApi;
beforeEach(() => {
  api = createTestApi();
});
afterEach(async () => api.server.close());

const AUTH = { authorization: `Bearer ${TEST_KEY}` };
const JSON_TYPE = { 'content-type': 'application/json' };

/** Status, code and message, after a check of what all errors have in common. */
async function refusalOf(request: InjectOptions): Promise<[number, string, string]> {
  const response = await api.server.app.inject(request);
  const body = response.json<{ request_id: string; code: string; message: string }>();
  expect(Object.keys(body)).toEqual(['request_id', 'code', 'message']);
  expect(body.request_id).toMatch(/^[A-Za-z0-9._-]{1,128}$/);
  expect(response.headers).toMatchObject({
    'content-type': 'application/json; charset=utf-8',
    'x-request-id': body.request_id,
    'x-neon-ret-request-id': body.request_id,
  });
  expect(body.message).not.toMatch(/\.$/);
  return [response.statusCode, body.code, body.message];
}

const post = (payload: string, headers: Record<string, string> = JSON_TYPE): InjectOptions => ({
  method: 'POST',
  url: '/api/v2/projects',
  headers: { ...AUTH, ...headers },
  payload,
});
const get = (path: string): InjectOptions => ({ method: 'GET', url: `/api/v2${path}`, headers: AUTH });

describe('authentication', () => {
  test.each([
    ['no header', {}],
    ['another scheme', { authorization: 'Basic dXNlcjpwYXNz' }],
    ['no key', { authorization: 'Bearer ' }],
    ['an unknown key', { authorization: 'Bearer napi_wrong' }],
    ['a key with blanks', { authorization: `Bearer ${TEST_KEY} x` }],
    ['an over-long key', { authorization: `Bearer ${'x'.repeat(5000)}` }],
  ])('%s: 401', async (_what, headers) => {
    const [status, code] = await refusalOf({ url: '/api/v2/projects', headers });
    expect([status, code]).toEqual([401, 'UNAUTHENTICATED']);
  });

  test('comes before everything else: unknown routes and broken bodies too', async () => {
    expect((await refusalOf({ url: '/api/v2/nope' }))[0]).toBe(401);
    expect((await refusalOf({ ...post('{'), headers: JSON_TYPE }))[0]).toBe(401);
  });

  test('names the scheme', async () => {
    const { headers } = await api.server.app.inject('/api/v2/projects');
    expect(headers['www-authenticate']).toBe('Bearer');
  });

  test('a revoked key is refused', async () => {
    const { body } = await api.call('POST', '/api_keys', { key_name: 'ci' });
    const { id, key } = body as unknown as { id: number; key: string };
    const request = { url: '/api/v2/projects', headers: { authorization: `Bearer ${key}` } };
    expect((await api.server.app.inject(request)).statusCode).toBe(200);
    await api.call('DELETE', `/api_keys/${id}`);
    expect((await refusalOf(request))[0]).toBe(401);
  });
});

describe('bodies', () => {
  test.each<[string, InjectOptions, string]>([
    ['broken JSON', post('{"project":'), 'Cannot read the request: the body is not valid JSON'],
    ['a prototype', post('{"__proto__":{"a":1}}'), 'Cannot read the request: the body is not valid JSON'],
    [
      'another content type',
      post('<a/>', { 'content-type': 'text/xml' }),
      'Cannot read the request: the body must be sent as Content-Type application/json',
    ],
    [
      'a broken content type',
      post('x', { 'content-type': '/' }),
      'Cannot read the request: the body must be sent as Content-Type application/json',
    ],
    [
      'more than 1 MiB',
      post(JSON.stringify({ project: { name: 'x'.repeat(1024 * 1024) } })),
      'Cannot read the request: the body is larger than 1 MiB',
    ],
    ['an empty body', post(''), 'Cannot accept the request: project is missing'],
    ['null', post('null'), 'Cannot accept the request: project is missing'],
    ['a list', post('[]'), 'Cannot accept the body: it takes an object'],
    ['a wrong type', post('{"project":{"pg_version":"17"}}'), /pg_version: it takes a whole number from 1 on$/.source],
    ['a null', post('{"project":{"name":null}}'), 'Cannot accept project.name: it takes text of 1 to 256'],
    ['an empty name', post('{"project":{"name":""}}'), 'Cannot accept project.name: it takes text of 1'],
    [
      'an over-long name',
      post(JSON.stringify({ project: { name: 'x'.repeat(257) } })),
      'Cannot accept project.name: it takes text of 1 to 256',
    ],
    ['an unknown field', post('{"project":{"nmae":"x"}}'), 'Cannot accept project.nmae: it is not one of'],
    [
      'a quota, while quotas are not enforced',
      post('{"project":{"settings":{"quota":{"active_time_seconds":1}}}}'),
      'Cannot accept project.settings.quota.active_time_seconds: it takes only 0: quotas are not enforced yet',
    ],
    [
      'sizes in both places',
      post('{"project":{"autoscaling_limit_max_cu":1,"default_endpoint_settings":{}}}'),
      'Cannot accept autoscaling limits both in project and in project.default_endpoint_settings',
    ],
    ['a region that is no id', post('{"project":{"region_id":"AWS us"}}'), 'Cannot accept project.region_id'],
  ])('%s: 400', async (_what, request, message) => {
    const [status, code, text] = await refusalOf(request);
    expect([status, code]).toEqual([400, 'INVALID_REQUEST']);
    expect(text).toMatch(message.endsWith('$') ? new RegExp(message) : message);
  });

  test('nothing is left behind by a refused request', async () => {
    await refusalOf(post('{"project":{"nmae":"x"}}'));
    expect((await api.call('GET', '/projects')).body).toMatchObject({ projects: [] });
  });

  test('an unknown version is told by its own code', async () => {
    expect((await refusalOf(post('{"project":{"pg_version":99}}'))).slice(0, 2)).toEqual([400, 'UNKNOWN_PG_VERSION']);
  });

  test.each([
    ['none', {}],
    ['JSON with no content', { headers: { ...AUTH, ...JSON_TYPE }, payload: '' }],
    [
      'a form with no content',
      { headers: { ...AUTH, 'content-type': 'application/x-www-form-urlencoded' }, payload: '' },
    ],
    ['{}', { payload: {} }],
  ])('a route without body takes %s', async (_what, extra) => {
    const { body } = await api.call('POST', '/projects', { project: {} });
    const { project, endpoints } = body as unknown as { project: { id: string }; endpoints: { id: string }[] };
    const url = `/api/v2/projects/${project.id}/endpoints/${endpoints[0]?.id}/start`;
    const response = await api.server.app.inject({ method: 'POST', url, headers: AUTH, ...extra });
    expect(response.statusCode).toBe(200);
    const refused = { method: 'POST', url, headers: AUTH, payload: { force: true } } as const;
    expect((await refusalOf(refused))[2]).toBe('Cannot accept force: no field is known here');
  });
});

describe('addresses', () => {
  test.each<[string, InjectOptions, string]>([
    ['an unknown path', get('/projects/a/nope'), 'Cannot find a route for GET /api/v2/projects/a/nope'],
    ['an unknown path outside the API', { url: '/nope' }, 'Cannot find a route for GET /nope'],
    [
      'a later route',
      { ...get('/projects/a/branches/b/anonymize'), method: 'POST' },
      'Cannot find a route for POST /api/v2/',
    ],
    ['another method', { ...get('/projects'), method: 'PUT' }, 'Cannot find a route for PUT /api/v2/projects'],
    ['OPTIONS', { ...get('/projects'), method: 'OPTIONS' }, 'Cannot find a route for OPTIONS /api/v2/projects'],
  ])('%s: 404', async (_what, request, message) => {
    const [status, code, text] = await refusalOf(request);
    expect([status, code]).toEqual([404, 'ROUTE_NOT_FOUND']);
    expect(text).toContain(message);
  });

  test.each<[string, string, string]>([
    ['a broken escape', '/projects/%zz', 'Cannot read the request: the URL holds a broken % escape'],
    [
      'an over-long URL',
      `/projects?search=${'x'.repeat(5000)}`,
      'Cannot read the request: its URL is longer than 4096 bytes',
    ],
    [
      'a malformed id',
      '/projects/UPPER',
      'Cannot accept project_id in the path: it takes text that matches ^[a-z0-9-]{1,60}$',
    ],
    ['an over-long id', `/projects/${'x'.repeat(61)}`, 'Cannot accept project_id in the path'],
    [
      'an operation id that is no UUID',
      '/projects/a/operations/b',
      'Cannot accept operation_id in the path: it takes a uuid',
    ],
    ['a repeated parameter', '/projects?limit=1&limit=2', 'Cannot accept the query parameter limit: it takes a whole'],
    ['a bracketed parameter', '/projects?limit[]=1', 'Cannot accept the query parameter limit[]: it is not one of'],
    ['a parameter out of bounds', '/projects?limit=401', 'Cannot accept the query parameter limit: it takes a whole'],
    ['an unknown parameter', '/projects?x=1', 'Cannot accept the query parameter x: it is not one of'],
    ['what is not implemented', '/projects?recoverable=true', 'only false: deleted projects cannot be recovered yet'],
    ['a missing parameter', '/projects/a/connection_uri?role_name=b', 'the query parameter database_name is missing'],
    ['NUL in a parameter', '/projects?search=%00', 'Cannot accept the query parameter search: it takes text'],
  ])('%s: 400', async (_what, path, message) => {
    const [status, code, text] = await refusalOf(get(path));
    expect([status, code]).toEqual([400, 'INVALID_REQUEST']);
    expect(text).toContain(message);
  });

  test('an unknown object: 404', async () => {
    expect((await refusalOf(get('/projects/no-such-12345678'))).slice(0, 2)).toEqual([404, 'NOT_FOUND']);
    expect((await refusalOf(get('/organizations/org-nope'))).slice(0, 2)).toEqual([404, 'NOT_FOUND']);
  });

  test('HEAD is GET without a body', async () => {
    const response = await api.server.app.inject({ ...get('/projects'), method: 'HEAD' });
    expect([response.statusCode, response.body]).toEqual([200, '']);
  });
});

describe('failures', () => {
  test.each(Object.keys(ERROR_CODES) as ErrorCode[])('%s has the status of its kind', async (code) => {
    api.platform.nextError = new PlatformError(code, 'Cannot do it');
    const [status, shown] = await refusalOf(get('/projects'));
    expect([status, shown]).toEqual([STATUS_OF_KIND[ERROR_CODES[code].kind], code]);
  });

  test('what may be tried again says when', async () => {
    api.platform.nextError = new PlatformError('HOST_UNAVAILABLE', 'Cannot reach the host');
    const { headers } = await api.server.app.inject(get('/projects'));
    expect(headers['retry-after']).toBe('2');
  });

  test('an unknown error shows nothing but its id, and is logged once with its cause', async () => {
    api.platform.nextError = new Error('secret path', { cause: new Error('deeper secret') });
    const [status, code, message] = await refusalOf(get('/projects'));
    expect([status, code]).toEqual([500, 'INTERNAL']);
    expect(message).not.toContain('secret');
    const failures = api.logged.filter(({ level }) => level === 50);
    expect(failures).toHaveLength(1);
    expect(JSON.stringify(failures)).toContain('deeper secret');
  });

  test('a full disk is told as such, however deep it is wrapped', async () => {
    const full = Object.assign(new Error('write'), { code: 'ENOSPC' });
    api.platform.nextError = new Error('cannot clone', { cause: full });
    expect((await refusalOf(get('/projects'))).slice(0, 2)).toEqual([507, 'NO_SPACE']);
  });

  test('an answer that takes too long ends: 504', async () => {
    api = createTestApi({ answerDeadlineMs: 10 });
    api.platform.projects.get = async () => new Promise<never>(() => {});
    expect((await refusalOf(get('/projects/a'))).slice(0, 2)).toEqual([504, 'DEADLINE_EXCEEDED']);
  });

  test('keys and passwords never reach the log', async () => {
    const { body } = await api.call('POST', '/projects', { project: {} });
    const { roles } = body as unknown as { roles: { password: string }[] };
    await refusalOf(get('/projects/no-such'));
    expect(JSON.stringify(api.logged)).not.toContain(TEST_KEY);
    expect(JSON.stringify(api.logged)).not.toContain(roles[0]?.password);
  });
});

test('the request id of the client is kept if it is well-formed', async () => {
  const idOf = async (given: string) =>
    (await api.server.app.inject({ ...get('/regions'), headers: { ...AUTH, 'x-request-id': given } })).headers[
      'x-request-id'
    ];
  expect(await idOf('abc-123')).toBe('abc-123');
  expect(await idOf('a b')).toMatch(/^[0-9a-f-]{36}$/);
  expect(await idOf('x'.repeat(129))).toMatch(/^[0-9a-f-]{36}$/);
});

test('the rate limit, where one is set, is by key and says when to come again', async () => {
  api = createTestApi({ rateLimit: { requestsPerMinute: 60, burst: 2 } });
  expect((await api.call('GET', '/regions')).status).toBe(200);
  expect((await api.call('GET', '/regions')).status).toBe(200);
  expect(await api.call('GET', '/regions')).toMatchObject({
    status: 429,
    body: { code: 'RATE_LIMITED' },
    headers: { 'retry-after': '1' },
  });
});
