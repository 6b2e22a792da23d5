import { connect } from 'node:net';
import { createApiClient } from '@neondatabase/api-client';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { must } from '../kernel/assert.ts';
import { TEST_KEY } from './testing/memory-platform.ts';
import { createTestApi, type TestApi } from './testing/test-api.ts';

let api: TestApi;
let port: number;
beforeEach(async () => {
  api = createTestApi();
  ({ port } = await api.server.listen());
});
afterEach(async () => api.server.close());

const url = (path: string): string => `http://127.0.0.1:${port}${path}`;
const AUTH = { authorization: `Bearer ${TEST_KEY}` };

describe("Neon's own client", () => {
  const client = () => createApiClient({ apiKey: TEST_KEY, baseURL: url('/api/v2') });

  test('runs through the life of a project', async () => {
    const neon = client();
    const created = await neon.createProject({ project: { name: 'acme', region_id: 'aws-us-east-2', pg_version: 17 } });
    expect(created.status).toBe(201);
    const { project, branch, endpoints, connection_uris: uris } = created.data;
    const endpoint = must(endpoints[0]);
    expect(must(uris[0]).connection_parameters.role).toBe('neondb_owner');

    expect((await neon.listProjects({ limit: 100 })).data.projects.map(({ id }) => id)).toEqual([project.id]);
    expect((await neon.getProject(project.id)).data.project.pg_version).toBe(17);
    expect((await neon.listProjectBranches({ projectId: project.id })).data.branches[0]?.id).toBe(branch.id);
    expect((await neon.getProjectBranch(project.id, branch.id)).data.branch.default).toBe(true);

    const started = await neon.startProjectEndpoint(project.id, endpoint.id);
    expect(started.data.endpoint.current_state).toBe('active');
    const updated = await neon.updateProjectEndpoint(project.id, endpoint.id, {
      endpoint: { suspend_timeout_seconds: -1 },
    });
    expect(updated.data.endpoint.suspend_timeout_seconds).toBe(-1);
    await neon.suspendProjectEndpoint(project.id, endpoint.id);
    await neon.restartProjectEndpoint(project.id, endpoint.id);

    const role = await neon.createProjectBranchRole(project.id, branch.id, { role: { name: 'app' } });
    const reset = await neon.resetProjectBranchRolePassword(project.id, branch.id, 'app');
    const revealed = await neon.getProjectBranchRolePassword(project.id, branch.id, 'app');
    expect(revealed.data.password).toBe(reset.data.role.password);
    expect(revealed.data.password).not.toBe(role.data.role.password);

    await neon.createProjectBranchDatabase(project.id, branch.id, { database: { name: 'shop', owner_name: 'app' } });
    await neon.updateProjectBranchDatabase(project.id, branch.id, 'shop', { database: { name: 'shop2' } });
    const uri = await neon.getConnectionUri({ projectId: project.id, database_name: 'shop2', role_name: 'app' });
    expect(uri.data.uri).toContain('/shop2?');
    await neon.deleteProjectBranchDatabase(project.id, branch.id, 'shop2');
    await neon.deleteProjectBranchRole(project.id, branch.id, 'app');

    const { data: listed } = await neon.listProjectOperations({ projectId: project.id, limit: 100 });
    expect(listed.operations.length).toBeGreaterThan(8);
    await neon.getProjectOperation(project.id, must(listed.operations[0]).id);
    expect((await neon.deleteProject(project.id)).data.project.id).toBe(project.id);
    await expect(neon.getProject(project.id)).rejects.toMatchObject({ response: { status: 404 } });
  });

  test('knows who it is and makes keys', async () => {
    const neon = client();
    expect((await neon.getCurrentUserInfo()).data.login).toBe('operator');
    const { organizations } = (await neon.getCurrentUserOrganizations()).data;
    expect((await neon.getOrganization(must(organizations[0]).id)).data.name).toBe('Default');
    expect((await neon.getAuthDetails()).data.auth_method).toBe('api_key_user');
    expect((await neon.getActiveRegions({})).data.regions).toHaveLength(1);
    const { data: key } = await neon.createApiKey({ key_name: 'ci' });
    expect((await neon.listApiKeys()).data).toHaveLength(2);
    expect((await neon.revokeApiKey(key.id)).data.revoked).toBe(true);
    await expect(
      createApiClient({ apiKey: key.key, baseURL: url('/api/v2') }).getCurrentUserInfo(),
    ).rejects.toMatchObject({ response: { status: 401, data: { code: 'UNAUTHENTICATED' } } });
  });
});

describe('bytes that are no request', () => {
  test.each([
    ['no HTTP', 'garbage\r\n\r\n', 'Cannot read the request: it is not HTTP'],
    ['too large headers', `GET / HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 'larger than 16 KiB'],
  ])('%s: 400, then the connection is closed', async (_what, bytes, message) => {
    const received = await exchange(bytes);
    expect(received).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(received).toContain(message);
    expect(JSON.parse(received.slice(received.indexOf('\r\n\r\n')))).toMatchObject({ code: 'INVALID_REQUEST' });
  });

  /** All that the server sends before it closes the connection. */
  async function exchange(bytes: string): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let received = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', (chunk) => (received += chunk.toString()));
    socket.once('close', resolve).once('error', reject);
    await promise;
    return received;
  }
});

test('closing lets running requests finish, refuses new ones, and ends', async () => {
  const { promise: mayAnswer, resolve: answer } = Promise.withResolvers<void>();
  const { promise: isRunning, resolve: running } = Promise.withResolvers<void>();
  api.platform.projects.list = async () => {
    running();
    await mayAnswer;
    return { items: [] };
  };
  const slow = fetch(url('/api/v2/projects'), { headers: AUTH });
  await isRunning;
  const closed = api.server.close();
  await expect(fetch(url('/healthz'))).rejects.toThrow('fetch failed');
  answer();
  expect((await slow).status).toBe(200);
  await closed;
});

test('1,000 creations from one key, 50 at a time, are not limited', async () => {
  const neon = createApiClient({ apiKey: TEST_KEY, baseURL: url('/api/v2') });
  let left = 1000;
  const statuses = new Set<number>();
  const worker = async (): Promise<void> => {
    while (left-- > 0) statuses.add((await neon.createProject({ project: {} })).status);
  };
  await Promise.all(Array.from({ length: 50 }, worker));
  expect([...statuses]).toEqual([201]);
  const seen = new Set<string>();
  let cursor: string | undefined;
  do {
    const { data } = await neon.listProjects({ limit: 100, ...(cursor && { cursor }) });
    for (const { id } of data.projects) seen.add(id);
    cursor = data.pagination?.cursor;
  } while (cursor !== undefined);
  expect(seen.size).toBe(1000);
});
