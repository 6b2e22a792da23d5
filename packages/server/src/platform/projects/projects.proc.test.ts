import { expect, test } from 'vitest';
import { eventually, testPlatform } from '../testing/test-platform.ts';

test('a new project has a branch, an endpoint, a role, a database and a way in', async () => {
  await using t = await testPlatform({ settings: { pgPort: 5433 } });
  const created = await t.platform.projects.create(t.principal, { name: 'acme', regionId: 'aws-us-east-2' });

  expect(created.project).toMatchObject({ name: 'acme', regionId: 'aws-us-east-2', pgVersion: 17 });
  expect(created.branch).toMatchObject({ name: 'main', isDefault: true, state: 'ready', pendingState: null });
  expect(created.endpoints).toHaveLength(1);
  expect(created.endpoints[0]).toMatchObject({
    minCu: 0.25,
    maxCu: 0.25,
    suspendTimeoutSeconds: 0,
    hostname: 'localhost',
  });
  expect(created.role.name).toBe('neondb_owner');
  expect(created.database).toMatchObject({ name: 'neondb', ownerName: 'neondb_owner' });
  expect(created.operations.map((o) => o.action)).toEqual(['create_timeline', 'start_compute']);
  expect(created.operations[0]?.status).toBe('finished');
  const password = created.password.reveal();
  expect(created.connection.connectionUri).toBe(
    `postgresql://neondb_owner:${password}@localhost:5433/neondb?options=endpoint%3D${created.endpoints[0]?.id}`,
  );
  expect([...t.host.volumes.keys()]).toEqual([created.branch.id]);

  const [started] = await t.engine.waitFor([created.operations[1]?.id ?? ''], 5_000);
  expect(started?.status).toBe('finished');
  const endpoint = await eventually(async () => {
    const [e] = await t.platform.endpoints.list(t.principal, created.project.id);
    return e?.state === 'active' && e;
  });
  expect(endpoint.pendingState).toBeNull();
  const revealed = await t.platform.roles.revealPassword(
    t.principal,
    created.project.id,
    created.branch.id,
    'neondb_owner',
  );
  expect(revealed.reveal()).toBe(password);
});
