import { expect, test } from 'vitest';
import { callEveryRoute, idsOf } from './testing/every-route.ts';
import { createTestApi } from './testing/test-api.ts';

test('every route answers as Neon does', async () => callEveryRoute(createTestApi()));

test('pages end with an empty one, so that clients that count rows and clients that look for a cursor both stop', async () => {
  const api = createTestApi();
  for (const name of ['a', 'b', 'c', 'd']) await api.call('POST', '/projects', { project: { name } });
  const seen: number[] = [];
  let cursor: string | undefined;
  do {
    const { body } = await api.call('GET', `/projects?limit=2${cursor ? `&cursor=${cursor}` : ''}`);
    const page = body as unknown as { projects: unknown[]; pagination?: { cursor: string } };
    seen.push(page.projects.length);
    cursor = page.pagination?.cursor;
  } while (cursor !== undefined);
  expect(seen).toEqual([2, 2, 0]);
});

test('a project needs nothing but {"project":{}}', async () => {
  const { status, body } = await createTestApi().call('POST', '/projects', { project: {} });
  expect(status).toBe(201);
  const { project } = body as unknown as { project: { id: string; name: string } };
  expect(project.name).toBe(project.id);
});

test('sizes in their old place are the defaults of endpoints', async () => {
  const { body } = await createTestApi().call('POST', '/projects', { project: { autoscaling_limit_max_cu: 2 } });
  expect(body).toMatchObject({ project: { default_endpoint_settings: { autoscaling_limit_max_cu: 2 } } });
});

test("the operator's regions are listed, the first is the default, and others are refused", async () => {
  const config = { listenAddress: '127.0.0.1', apiPort: 0, regions: ['eu-1', 'us-1'], domain: 'db.example.com' };
  const api = createTestApi({ config });
  expect((await api.call('GET', '/regions')).body).toMatchObject({
    regions: [
      { region_id: 'eu-1', default: true },
      { region_id: 'us-1', default: false },
    ],
  });
  expect((await api.call('POST', '/projects', { project: {} })).body).toMatchObject({
    project: { region_id: 'eu-1', proxy_host: 'db.example.com' },
  });
  expect((await api.call('POST', '/projects', { project: { region_id: 'aws-us-east-2' } })).body).toMatchObject({
    code: 'INVALID_REQUEST',
    message: 'Cannot accept project.region_id: it takes one of eu-1, us-1',
  });
});

test('a password that is not stored cannot be revealed: 412', async () => {
  const api = createTestApi();
  const created = await api.call('POST', '/projects', { project: { store_passwords: false } });
  const { project_id: project, branch_id: branch } = idsOf(created.body);
  const path = `/projects/${project}/branches/${branch}/roles/neondb_owner/reveal_password`;
  expect(await api.call('GET', path)).toMatchObject({ status: 412, body: { code: 'CONFLICT' } });
});

test('names in the path may hold any character', async () => {
  const api = createTestApi();
  const { project_id: project, branch_id: branch } = idsOf((await api.call('POST', '/projects', { project: {} })).body);
  const roles = `/projects/${project}/branches/${branch}/roles`;
  const name = 'Größe/50% "x"';
  await api.call('POST', roles, { role: { name } });
  expect(await api.call('GET', `${roles}/${encodeURIComponent(name)}`)).toMatchObject({
    status: 200,
    body: { role: { name } },
  });
});
