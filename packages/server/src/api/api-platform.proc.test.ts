import { createApiClient } from '@neondatabase/api-client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TEST_ADMIN_KEY, testPlatform, type TestPlatform } from '../platform/testing/test-platform.ts';
import { callEveryRoute } from './testing/every-route.ts';
import { createTestApi, type TestApi } from './testing/test-api.ts';

/** The API over the real platform: a metadata Postgres, the operations engine, and a host in memory. */
let real: TestPlatform;
let api: TestApi;
beforeAll(async () => {
  real = await testPlatform();
  api = createTestApi({ platform: real.platform }, TEST_ADMIN_KEY);
});
afterAll(async () => {
  await api.server.close();
  await real[Symbol.asyncDispose]();
});

test('every route answers as Neon does', async () => callEveryRoute(api));

test("Neon's client walks the pages of projects, the last one full", async () => {
  const { port } = await api.server.listen();
  const neon = createApiClient({ apiKey: TEST_ADMIN_KEY, baseURL: `http://127.0.0.1:${port}/api/v2` });
  for (let n = 0; n < 4; n += 1) await neon.createProject({ project: { name: `page-${n}` } });
  const seen: string[][] = [];
  let cursor: string | undefined;
  do {
    const { data } = await neon.listProjects({ limit: 2, search: 'page-', ...(cursor && { cursor }) });
    seen.push(data.projects.map(({ name }) => name));
    cursor = data.pagination?.cursor;
  } while (cursor !== undefined);
  expect(seen.map(({ length }) => length)).toEqual([2, 2, 0]);
  expect(new Set(seen.flat()).size).toBe(4);
});

test.each<[string, object, number, string]>([
  ['a reserved role', { branch: { role_name: 'cloud_admin' } }, 400, 'RESERVED_NAME'],
  ['a reserved database', { branch: { database_name: 'template1' } }, 400, 'RESERVED_NAME'],
  ['an unknown version', { pg_version: 99 }, 400, 'UNKNOWN_PG_VERSION'],
  ['a version that is not installed', { pg_version: 14 }, 400, 'ENGINE_NOT_INSTALLED'],
  ['a size that is none', { default_endpoint_settings: { autoscaling_limit_max_cu: 0.3 } }, 400, 'INVALID_REQUEST'],
  ['a timeout below the least', { default_endpoint_settings: { suspend_timeout_seconds: 5 } }, 400, 'INVALID_REQUEST'],
  ['an address that is none', { settings: { allowed_ips: { ips: ['x'] } } }, 400, 'INVALID_REQUEST'],
  ['an organization of others', { org_id: 'org-nope' }, 404, 'NOT_FOUND'],
])('%s is refused, and nothing is left behind', async (_what, project, status, code) => {
  const before = real.host.volumes.size;
  expect(await api.call('POST', '/projects', { project })).toMatchObject({ status, body: { code } });
  expect(real.host.volumes.size).toBe(before);
});

test.each([
  '/projects?cursor=x',
  '/projects/a/operations/00000000-0000-4000-8000-000000000000',
  '/projects/a/branches/br-b/roles/%F0%9F%98%80',
])('GET %s is an error of the client', async (path) => {
  expect((await api.call('GET', path)).status).toSatisfy((status: number) => status === 400 || status === 404);
});
