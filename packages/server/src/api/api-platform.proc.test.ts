import { createApiClient } from '@neondatabase/api-client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sleep } from '../kernel/wait.ts';
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

test('the moment that a branch or a snapshot is of is answered to the microsecond', async () => {
  const { body: made } = await api.call('POST', '/projects', { project: {} });
  const { project, branch, operations } = made as unknown as Created;
  await real.engine.waitFor(
    operations.map(({ id }) => id),
    10_000,
  );
  const path = `/projects/${project.id}`;
  const second = Math.ceil(Date.now() / 1000) * 1000;
  while (Date.now() < second + 1000) await sleep(50);
  const text = new Date(second).toISOString().slice(0, 19);
  const times = [
    [`${text}.123456Z`, `${text}.123456Z`],
    [`${text}.120000Z`, `${text}.12Z`],
    [`${text}Z`, `${text}Z`],
    [`${new Date(second + 7_200_000).toISOString().slice(0, 19)}.000007+02:00`, `${text}.000007Z`],
  ] as const;
  const ids: string[] = [];
  for (const [given, answered] of times) {
    const { body } = await api.call('POST', `${path}/branches`, { branch: { parent_timestamp: given } });
    expect(body).toMatchObject({ branch: { parent_timestamp: answered } });
    const { id } = (body as unknown as Created).branch;
    ids.push(id);
    expect((await api.call('GET', `${path}/branches/${id}`)).body).toMatchObject({
      branch: { parent_timestamp: answered },
    });
  }

  // The branch that a restore keeps the state before under began when the restored one did.
  const [given, answered] = times[0];
  const restore = { source_branch_id: branch.id, source_timestamp: given, preserve_under_name: 'before' };
  const restored = await api.call('POST', `${path}/branches/${ids[0]}/restore`, restore);
  expect(restored.body).toMatchObject({ branch: { parent_timestamp: answered } });
  const { branches } = (await api.call('GET', `${path}/branches?search=before`)).body as unknown as {
    readonly branches: readonly object[];
  };
  expect(branches).toMatchObject([{ name: 'before', parent_timestamp: answered }]);

  const snapshot = await api.call('POST', `${path}/branches/${branch.id}/snapshot`, { timestamp: given });
  expect(snapshot.body).toMatchObject({ snapshot: { timestamp: answered } });
});

interface Created {
  readonly project: { readonly id: string };
  readonly branch: { readonly id: string };
  readonly operations: readonly { readonly id: string }[];
}
