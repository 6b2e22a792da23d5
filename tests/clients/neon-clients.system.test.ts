import { mkdtempSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { createApiClient, EndpointType } from '@neondatabase/api-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { must } from '../support/must.ts';
import { NO_PSQL, psql } from '../support/psql.ts';
import { run, runOk } from '../support/run.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';

/** Neon's own API client and command line, unchanged, pointed at our address. */

let platform: RunningPlatform;
const home = mkdtempSync('/tmp/tenantry-neon-cli-');
beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(async () => {
  rmSync(home, { recursive: true, force: true });
  await platform?.[Symbol.asyncDispose]();
});

describe.skipIf(NO_PSQL)('@neondatabase/api-client', () => {
  it('does the round of a project', async () => {
    const neon = createApiClient({ apiKey: platform.ready.admin_key, baseURL: platform.ready.api_url });
    const created = (await neon.createProject({ project: { name: 'from-client', pg_version: 17 } })).data;
    const projectId = created.project.id;
    const branchId = created.branch.id;
    const endpointId = must(created.endpoints[0]).id;
    const isSettled = async (): Promise<boolean> => {
      const { operations } = (await neon.listProjectOperations({ projectId })).data;
      return operations.every((o) => ['finished', 'skipped'].includes(o.status));
    };
    await waitUntil('its operations to end', isSettled);
    expect(await psql(must(created.connection_uris?.[0]).connection_uri, 'SELECT 1')).toBe('1');

    expect((await neon.listProjects({ search: 'from-client' })).data.projects.map((p) => p.id)).toEqual([projectId]);
    expect((await neon.getProject(projectId)).data.project.name).toBe('from-client');
    await neon.updateProject(projectId, { project: { name: 'changed' } });
    expect((await neon.getProject(projectId)).data.project.name).toBe('changed');
    expect((await neon.listProjectBranches({ projectId })).data.branches.map((b) => b.id)).toEqual([branchId]);
    expect((await neon.getProjectBranch(projectId, branchId)).data.branch.name).toBe('main');
    expect((await neon.listProjectBranchEndpoints(projectId, branchId)).data.endpoints.map((e) => e.id)).toEqual([
      endpointId,
    ]);

    await neon.updateProjectEndpoint(projectId, endpointId, { endpoint: { autoscaling_limit_max_cu: 1 } });
    await waitUntil('its operations to end', isSettled);
    const { endpoint } = (await neon.getProjectEndpoint(projectId, endpointId)).data;
    expect(endpoint).toMatchObject({ autoscaling_limit_max_cu: 1, type: EndpointType.ReadWrite });
    await neon.suspendProjectEndpoint(projectId, endpointId);
    await waitUntil('its operations to end', isSettled);
    await neon.startProjectEndpoint(projectId, endpointId);
    await waitUntil('its operations to end', isSettled);

    const role = (await neon.createProjectBranchRole(projectId, branchId, { role: { name: 'web' } })).data.role;
    await waitUntil('its operations to end', isSettled);
    await neon.createProjectBranchDatabase(projectId, branchId, { database: { name: 'shop', owner_name: role.name } });
    await waitUntil('its operations to end', isSettled);
    expect((await neon.listProjectBranchRoles(projectId, branchId)).data.roles.map((r) => r.name)).toContain('web');
    expect((await neon.getProjectBranchRole(projectId, branchId, 'web')).data.role.name).toBe('web');
    const { password } = (await neon.getProjectBranchRolePassword(projectId, branchId, 'web')).data;
    expect(password).toBe(role.password);
    expect((await neon.listProjectBranchDatabases(projectId, branchId)).data.databases.map((d) => d.name)).toContain(
      'shop',
    );
    const { uri } = (await neon.getConnectionUri({ projectId, database_name: 'shop', role_name: 'web' })).data;
    expect(await psql(uri, 'SELECT current_user')).toBe('web');
    await neon.deleteProjectBranchDatabase(projectId, branchId, 'shop');
    await waitUntil('its operations to end', isSettled);
    await neon.deleteProjectBranchRole(projectId, branchId, 'web');
    await waitUntil('its operations to end', isSettled);

    const operation = must((await neon.listProjectOperations({ projectId })).data.operations[0]);
    expect((await neon.getProjectOperation(projectId, operation.id)).data.operation.id).toBe(operation.id);
    await neon.deleteProject(projectId);
    await expect(neon.getProject(projectId)).rejects.toMatchObject({ response: { status: 404 } });
  });

  it('makes, lists and revokes keys, and knows its user', async () => {
    const neon = createApiClient({ apiKey: platform.ready.admin_key, baseURL: platform.ready.api_url });
    const made = (await neon.createApiKey({ key_name: 'for a test' })).data;
    const other = createApiClient({ apiKey: made.key, baseURL: platform.ready.api_url });
    expect((await other.getCurrentUserInfo()).data.id).toBe((await neon.getCurrentUserInfo()).data.id);
    expect((await other.getCurrentUserOrganizations()).data.organizations).toHaveLength(1);
    expect((await other.getActiveRegions({})).data.regions.length).toBeGreaterThan(0);
    expect((await neon.listApiKeys({})).data.map((k) => k.id)).toContain(made.id);
    await neon.revokeApiKey(made.id);
    await expect(other.getCurrentUserInfo()).rejects.toMatchObject({ response: { status: 401 } });
  });
});

describe.skipIf(NO_PSQL)('the neon command', () => {
  it('does the round of a project', async () => {
    type Created = {
      project: { id: string };
      connection_uris: { connection_uri: string }[];
      endpoints: { id: string }[];
    };
    const created = (await neon('projects', 'create', '--name', 'from-cli', '--region-id', 'aws-us-east-2')) as Created;
    const id = created.project.id;
    const inProject = ['--project-id', id];
    const pasted = must(created.connection_uris[0]).connection_uri;
    expect(await psql(pasted, 'SELECT 1')).toBe('1');

    const listed = (await neon('projects', 'list')) as { id: string }[] | { projects: { id: string }[] };
    const projects = Array.isArray(listed) ? listed : listed.projects;
    expect(projects.map((p) => p.id)).toContain(id);
    expect(await neon('projects', 'get', id)).toMatchObject({ id, name: 'from-cli' });
    expect(await neon('branches', 'list', ...inProject)).toMatchObject([{ name: 'main' }]);

    // The command knows neither ports nor our options, so with the domain localhost its strings lack both.
    for (const flags of [[], ['--ssl', 'omit', '--role-name', 'neondb_owner']]) {
      const uri = new URL((await text('connection-string', ...inProject, ...flags)).trim());
      uri.port = String(platform.pgPort);
      uri.searchParams.set('options', must(new URL(pasted).searchParams.get('options')));
      expect(await psql(uri.href, 'SELECT current_user, current_database()')).toBe('neondb_owner|neondb');
    }

    expect(await neon('roles', 'create', '--name', 'web', ...inProject)).toMatchObject({ name: 'web' });
    expect(await neon('roles', 'list', ...inProject)).toEqual(
      expect.arrayContaining([expect.objectContaining({ name: 'web' })]),
    );
    expect(await neon('databases', 'create', '--name', 'shop', '--owner-name', 'web', ...inProject)).toMatchObject({
      name: 'shop',
    });
    expect(await neon('databases', 'list', ...inProject)).toEqual(
      expect.arrayContaining([expect.objectContaining({ name: 'shop' })]),
    );
    await neon('databases', 'delete', 'shop', ...inProject);
    await neon('roles', 'delete', 'web', ...inProject);
    expect(((await neon('operations', 'list', ...inProject)) as unknown[]).length).toBeGreaterThan(3);
    await neon('projects', 'delete', id);
    expect((await cli('projects', 'get', id)).code).not.toBe(0);
  });

  it('shows the user', async () => {
    expect(await neon('me')).toMatchObject({ login: expect.any(String) });
    expect(Array.isArray(await neon('orgs', 'list'))).toBe(true);
  });
});

const NEON = resolve(import.meta.dirname, '../../node_modules/.bin/neon');
const environment = (): Record<string, string> => ({
  NEON_API_HOST: platform.ready.api_url,
  NEON_API_KEY: platform.ready.admin_key,
  CI: '1',
});
const withCommon = (args: string[]): string[] => [...args, '--no-analytics', '--no-color', '--config-dir', home];

const cli = async (...args: string[]) =>
  await run(NEON, withCommon([...args, '--output', 'json']), { env: environment(), cwd: home });

const text = async (...args: string[]): Promise<string> =>
  await runOk(NEON, withCommon(args), { env: environment(), cwd: home });

async function neon(...args: string[]): Promise<unknown> {
  return JSON.parse(
    await runOk(NEON, withCommon([...args, '--output', 'json']), { env: environment(), cwd: home }),
  ) as unknown;
}
