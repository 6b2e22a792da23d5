import type { RouteDefinition } from '@tenantry/contract/route.ts';
import { ROUTES, type RouteName } from '@tenantry/contract/routes.ts';
import { expect, test } from 'vitest';
import { must } from '../kernel/assert.ts';
import { NeonOpenApi } from './testing/neon-openapi.ts';
import { createTestApi } from './testing/test-api.ts';

const neon = new NeonOpenApi();

interface Call {
  readonly query?: string;
  readonly body?: object;
  readonly answer: object;
}

/**
 * Calls every route once, in this order, and compares each answer with ours (`answer`, in part) and with Neon's schema
 * of it (in whole: every required field, no unknown ones, types and enums).
 */
const CALLS: Record<RouteName, Call> = {
  createProject: {
    body: {
      project: {
        name: 'tenant-acme-corp',
        region_id: 'aws-us-east-2',
        pg_version: 17,
        store_passwords: true,
        history_retention_seconds: 3600,
        provisioner: 'k8s-neonvm',
        settings: {
          quota: { active_time_seconds: 0 },
          allowed_ips: { ips: ['10.0.0.0/8'], protected_branches_only: false },
          maintenance_window: { weekdays: [7], start_time: '01:00', end_time: '02:00' },
          block_vpc_connections: true,
        },
        default_endpoint_settings: { autoscaling_limit_min_cu: 0.25, autoscaling_limit_max_cu: 2 },
        branch: { name: 'trunk', role_name: 'acme', database_name: 'shop' },
      },
    },
    answer: {
      project: {
        name: 'tenant-acme-corp',
        region_id: 'aws-us-east-2',
        history_retention_seconds: 3600,
        created_at: '2026-11-22T10:11:12Z',
        settings: { allowed_ips: { ips: ['10.0.0.0/8'] }, maintenance_window: { weekdays: [7] } },
        default_endpoint_settings: { autoscaling_limit_max_cu: 2, suspend_timeout_seconds: 0 },
      },
      branch: { name: 'trunk', default: true, current_state: 'ready' },
      roles: [{ name: 'acme', password: expect.stringMatching(/^npg_/) }],
      databases: [{ name: 'shop', owner_name: 'acme' }],
      operations: [{ action: 'create_timeline' }, { action: 'start_compute' }],
      endpoints: [{ type: 'read_write', host: 'localhost' }],
      connection_uris: [{ connection_parameters: { role: 'acme', database: 'shop', host: 'localhost' } }],
    },
  },
  listProjects: {
    query: '?limit=100&search=acme&timeout=1000&recoverable=false',
    answer: { projects: [{ name: 'tenant-acme-corp', active_time: 0 }], applications: {}, integrations: {} },
  },
  listSharedProjects: { query: '?limit=100', answer: { projects: [] } },
  getProject: { answer: { project: { name: 'tenant-acme-corp' } } },
  updateProject: {
    body: { project: { name: 'renamed', default_endpoint_settings: { suspend_timeout_seconds: -1 } } },
    answer: {
      project: { name: 'renamed', default_endpoint_settings: { suspend_timeout_seconds: -1 } },
      operations: [{ action: 'apply_config', total_duration_ms: 13 }],
    },
  },
  getConnectionURI: {
    query: '?database_name=shop&role_name=acme&pooled=true',
    answer: { uri: expect.stringMatching(/^postgresql:\/\/acme:npg_/) },
  },
  listProjectBranches: {
    query: '?sort_by=name&sort_order=asc',
    answer: { branches: [{ name: 'trunk' }], annotations: {}, pagination: { sort_by: 'name', sort_order: 'asc' } },
  },
  countProjectBranches: { answer: { count: 1 } },
  getProjectBranch: { answer: { branch: { primary: true }, annotation: { value: {} } } },
  listProjectEndpoints: { answer: { endpoints: [{ current_state: 'idle' }] } },
  listProjectBranchEndpoints: { answer: { endpoints: [{ current_state: 'idle' }] } },
  getProjectEndpoint: { answer: { endpoint: { pooler_mode: 'transaction', passwordless_access: false } } },
  updateProjectEndpoint: {
    body: {
      endpoint: {
        name: 'main',
        autoscaling_limit_max_cu: 4,
        suspend_timeout_seconds: 60,
        settings: { pg_settings: { work_mem: '8MB' } },
      },
    },
    answer: {
      endpoint: {
        name: 'main',
        autoscaling_limit_max_cu: 4,
        suspend_timeout_seconds: 60,
        settings: { pg_settings: { work_mem: '8MB' } },
      },
      operations: [{ action: 'apply_config' }],
    },
  },
  startProjectEndpoint: {
    answer: { endpoint: { current_state: 'active' }, operations: [{ action: 'start_compute' }] },
  },
  suspendProjectEndpoint: {
    answer: { endpoint: { current_state: 'idle' }, operations: [{ action: 'suspend_compute' }] },
  },
  restartProjectEndpoint: { answer: { endpoint: { current_state: 'active' } } },
  createProjectBranchRole: {
    body: { role: { name: 'reader' } },
    answer: { role: { name: 'reader', password: expect.stringMatching(/^npg_/) } },
  },
  listProjectBranchRoles: { answer: { roles: [{ name: 'acme' }, { name: 'reader' }] } },
  getProjectBranchRole: { answer: { role: { name: 'acme' } } },
  getProjectBranchRolePassword: { answer: { password: expect.stringMatching(/^npg_/) } },
  resetProjectBranchRolePassword: { answer: { role: { name: 'acme', password: expect.stringMatching(/^npg_/) } } },
  createProjectBranchDatabase: {
    body: { database: { name: 'extra', owner_name: 'reader' } },
    answer: { database: { name: 'extra', owner_name: 'reader' } },
  },
  listProjectBranchDatabases: { answer: { databases: [{ name: 'shop' }, { name: 'extra' }] } },
  getProjectBranchDatabase: { answer: { database: { name: 'shop' } } },
  updateProjectBranchDatabase: {
    body: { database: { owner_name: 'reader' } },
    answer: { database: { name: 'shop', owner_name: 'reader' } },
  },
  deleteProjectBranchDatabase: { answer: { database: { name: 'shop' } } },
  deleteProjectBranchRole: { answer: { role: { name: 'acme' } } },
  listProjectOperations: { query: '?limit=2', answer: { operations: [{}, {}], pagination: { cursor: '2' } } },
  getProjectOperation: { answer: { operation: { status: 'finished' } } },
  deleteProject: { answer: { project: { name: 'renamed' } } },
  createApiKey: { body: { key_name: 'ci' }, answer: { name: 'ci', key: expect.stringMatching(/^napi_/) } },
  listApiKeys: { answer: [{ name: 'operator', last_used_from_addr: '127.0.0.1' }, { name: 'ci' }] },
  revokeApiKey: { answer: { name: 'ci', revoked: true } },
  getCurrentUserInfo: { answer: { login: 'operator', auth_accounts: [] } },
  getCurrentUserOrganizations: { answer: { organizations: [{ plan: 'self_hosted', managed_by: 'console' }] } },
  getOrganization: { answer: { name: 'Default' } },
  getAuthDetails: { answer: { auth_method: 'api_key_user' } },
  getActiveRegions: { answer: { regions: [{ region_id: 'local', default: true }] } },
};

test('every route answers as Neon does', async () => {
  const api = createTestApi();
  const ids: Record<string, string> = {
    role_name: 'acme',
    database_name: 'shop',
    key_id: '103',
    org_id: api.platform.organizationId,
  };
  for (const [name, call] of Object.entries(CALLS) as [RouteName, Call][]) {
    const route: RouteDefinition = ROUTES[name];
    const path = route.path.replaceAll(/\{(\w+)\}/g, (_, key: string) => must(ids[key], `${name} needs ${key}`));
    const { status, body, headers } = await api.call(route.method, `${path}${call.query ?? ''}`, call.body);
    expect(body, name).toMatchObject(call.answer);
    expect(status, name).toBe(route.status);
    expect(headers['content-type'], name).toBe('application/json; charset=utf-8');
    expect(neon.violations(route.method, route.path, route.status, body), name).toEqual([]);
    if (name === 'createProject') Object.assign(ids, idsOf(body));
    if (name === 'createApiKey') ids['key_id'] = String((body as { id?: number }).id);
  }
});

function idsOf(body: object): Record<string, string> {
  const { project, branch, endpoints, operations } = body as Record<'project' | 'branch', { id: string }> &
    Record<'endpoints' | 'operations', { id: string }[]>;
  return {
    project_id: project.id,
    branch_id: branch.id,
    endpoint_id: must(endpoints[0]).id,
    operation_id: must(operations[0]).id,
  };
}

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
