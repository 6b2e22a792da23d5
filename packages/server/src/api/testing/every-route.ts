import type { RouteDefinition } from '@tenantry/contract/route.ts';
import { ROUTES, type RouteName } from '@tenantry/contract/routes.ts';
import { expect } from 'vitest';
import { must } from '../../kernel/assert.ts';
import { NeonOpenApi } from './neon-openapi.ts';
import type { TestApi } from './test-api.ts';

const neon = new NeonOpenApi();

interface Call {
  readonly query?: string;
  readonly body?: object;
  readonly answer: object;
}

const IN_AN_HOUR = new Date(Date.now() + 3_600_000).toISOString();

/** Calls that change the branch, or the endpoint, that a call before them has made. */
const ON_NEW_BRANCH = new Set<RouteName>([
  'getProjectBranchSchemaComparison',
  'updateProjectBranch',
  'deleteProjectBranch',
  'recoverProjectBranch',
]);
const ON_NEW_ENDPOINT = new Set<RouteName>(['deleteProjectEndpoint']);

/** In this order. `answer` is a part of what must come. */
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
        created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
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
  getProjectBranchSchema: { query: '?db_name=shop&format=sql', answer: { sql: expect.any(String) } },
  listProjectEndpoints: { answer: { endpoints: [{ type: 'read_write' }] } },
  listProjectBranchEndpoints: { answer: { endpoints: [{ type: 'read_write' }] } },
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
    },
  },
  startProjectEndpoint: {
    answer: { endpoint: { current_state: 'active' } },
  },
  restartProjectEndpoint: { answer: { endpoint: { current_state: 'active' } } },
  suspendProjectEndpoint: {
    answer: { endpoint: { current_state: 'idle' }, operations: [{ action: 'suspend_compute' }] },
  },
  createProjectBranch: {
    body: {
      branch: { name: 'preview', init_source: 'parent-data' },
      endpoints: [{ type: 'read_write', autoscaling_limit_max_cu: 1 }],
      annotation_value: { 'git-ref': 'preview' },
    },
    answer: {
      branch: { name: 'preview', default: false, parent_lsn: expect.any(String), current_state: 'ready' },
      endpoints: [{ type: 'read_write' }],
      operations: [{ action: 'create_branch' }, { action: 'start_compute' }],
      roles: [{ name: 'acme' }],
      databases: [{ name: 'shop' }],
      connection_uris: [{ connection_parameters: { role: 'acme', database: 'shop' } }],
    },
  },
  createProjectEndpoint: {
    body: { endpoint: { type: 'read_only', name: 'reports', provisioner: 'k8s-neonvm' } },
    answer: { endpoint: { type: 'read_only', name: 'reports' } },
  },
  deleteProjectEndpoint: { answer: { endpoint: { type: 'read_only' }, operations: [{ action: 'suspend_compute' }] } },
  getProjectBranchSchemaComparison: { query: '?db_name=shop', answer: { diff: expect.any(String) } },
  updateProjectBranch: {
    body: { branch: { name: 'review', protected: false, expires_at: IN_AN_HOUR } },
    answer: { branch: { name: 'review', ttl_interval_seconds: expect.any(Number) } },
  },
  deleteProjectBranch: { query: '?hard_delete=false', answer: { branch: { name: 'review' } } },
  recoverProjectBranch: { answer: { branch: { name: 'review' }, endpoints: [{ type: 'read_write' }] } },
  setDefaultProjectBranch: { answer: { branch: { name: 'trunk', default: true }, operations: [] } },
  createSnapshot: {
    query: '?name=before-the-move',
    body: { expires_at: '2999-01-01T00:00:00Z' },
    answer: { snapshot: { name: 'before-the-move', expires_at: '2999-01-01T00:00:00Z', manual: true } },
  },
  listSnapshots: { answer: { snapshots: [{ name: 'before-the-move' }] } },
  updateSnapshot: { body: { snapshot: { name: 'before' } }, answer: { snapshot: { name: 'before' } } },
  restoreSnapshot: {
    body: { name: 'as-it-was', finalize_restore: false },
    answer: { branch: { name: 'as-it-was' }, operations: [{ action: 'create_branch' }] },
  },
  restoreProjectBranch: {
    body: { preserve_under_name: 'trunk_old' },
    answer: { branch: { name: 'trunk' } },
  },
  finalizeRestoreBranch: { body: { name: 'review_old' }, answer: { operations: expect.any(Array) } },
  setSnapshotSchedule: {
    body: { schedule: [{ frequency: 'daily', hour: 3, retention_seconds: 86_400 }] },
    answer: {},
  },
  getSnapshotSchedule: { answer: { schedule: [{ frequency: 'daily', hour: 3, retention_seconds: 86_400 }] } },
  deleteSnapshot: { answer: { operations: [{ action: 'delete_timeline' }] } },
  createProjectBranchRole: {
    body: { role: { name: 'reader' } },
    answer: { role: { name: 'reader', password: expect.stringMatching(/^npg_/) } },
  },
  listProjectBranchRoles: { answer: { roles: [{ name: 'acme' }, { name: 'reader' }] } },
  getProjectBranchRole: { answer: { role: { name: 'acme' } } },
  getProjectBranchRolePassword: { answer: { password: expect.stringMatching(/^npg_/) } },
  resetProjectBranchRolePassword: { answer: { role: { name: 'acme', password: expect.stringMatching(/^npg_/) } } },
  createProjectBranchDatabase: {
    body: { database: { name: 'zoo', owner_name: 'reader' } },
    answer: { database: { name: 'zoo', owner_name: 'reader' } },
  },
  listProjectBranchDatabases: { answer: { databases: [{ name: 'shop' }, { name: 'zoo' }] } },
  getProjectBranchDatabase: { answer: { database: { name: 'shop' } } },
  updateProjectBranchDatabase: {
    body: { database: { owner_name: 'reader' } },
    answer: { database: { name: 'shop', owner_name: 'reader' } },
  },
  deleteProjectBranchDatabase: { answer: { database: { name: 'shop' } } },
  deleteProjectBranchRole: { answer: { role: { name: 'acme' } } },
  listProjectOperations: {
    query: '?limit=2',
    answer: { operations: [{}, {}], pagination: { cursor: expect.any(String) } },
  },
  getProjectOperation: { answer: { operation: { action: 'create_timeline' } } },
  deleteProject: { answer: { project: { name: 'renamed' } } },
  createApiKey: { body: { key_name: 'ci' }, answer: { name: 'ci', key: expect.stringMatching(/^napi_/) } },
  listApiKeys: { answer: [{ last_used_from_addr: '127.0.0.1' }, { name: 'ci' }] },
  revokeApiKey: { answer: { name: 'ci', revoked: true } },
  getCurrentUserInfo: { answer: { auth_accounts: [] } },
  getCurrentUserOrganizations: { answer: { organizations: [{ managed_by: 'console' }] } },
  getOrganization: { answer: { managed_by: 'console' } },
  getAuthDetails: { answer: { auth_method: 'api_key_user' } },
  getActiveRegions: { answer: { regions: [{ region_id: 'local', default: true }] } },
};

/**
 * Calls every route once and compares each answer with ours (in part) and with Neon's schema of it (in whole: every
 * required field, no unknown ones, types and enums).
 */
export async function callEveryRoute(api: Pick<TestApi, 'call'>): Promise<void> {
  const { body: mine } = await api.call('GET', '/users/me/organizations');
  const { organizations } = mine as unknown as { organizations: { id: string }[] };
  const ids: Record<string, string> = {
    role_name: 'acme',
    database_name: 'shop',
    org_id: must(organizations[0]).id,
  };
  for (const [name, { query = '', body: given }] of Object.entries(CALLS) as [RouteName, Call][]) {
    const route: RouteDefinition = ROUTES[name];
    const target = {
      ...ids,
      ...(ON_NEW_BRANCH.has(name) && { branch_id: ids['new_branch_id'] }),
      ...(name === 'finalizeRestoreBranch' && { branch_id: ids['restored_branch_id'] }),
      ...(ON_NEW_ENDPOINT.has(name) && { endpoint_id: ids['new_endpoint_id'] }),
    } as Record<string, string | undefined>;
    const path = route.path.replaceAll(/\{(\w+)\}/g, (_, key: string) => must(target[key], `${name} needs ${key}`));
    const { status, body, headers } = await api.call(route.method, `${path}${query}`, withBranch(name, given, ids));
    expect(body, name).toMatchObject(CALLS[name].answer);
    expect(status, name).toBe(route.status);
    expect(headers['content-type'], name).toBe('application/json; charset=utf-8');
    expect(neon.violations(route.method, route.path, route.status, body), name).toEqual([]);
    if (name === 'createProject') Object.assign(ids, idsOf(body));
    if (name === 'createSnapshot') {
      ids['snapshot_id'] = idOf(body, 'snapshot');
      ids['lsn'] = (body as { snapshot?: { lsn: string } }).snapshot?.lsn ?? '';
    }
    if (name === 'restoreSnapshot') ids['restored_branch_id'] = idOf(body, 'branch');
    if (name === 'createProjectBranch') ids['new_branch_id'] = idOf(body, 'branch');
    if (name === 'createProjectEndpoint') ids['new_endpoint_id'] = idOf(body, 'endpoint');
    if (name === 'createApiKey') ids['key_id'] = String((body as { id?: number }).id);
  }
}

/** A body that has to name the branch. */
function withBranch(name: string, body: object | undefined, ids: Record<string, string>): object | undefined {
  const { branch_id, lsn: source_lsn } = ids;
  if (name === 'restoreProjectBranch') return { source_branch_id: branch_id, source_lsn, ...body };
  if (name === 'restoreSnapshot') return { target_branch_id: ids['new_branch_id'], ...body };
  if (name !== 'createProjectEndpoint') return body;
  return { endpoint: { branch_id, ...(body as { endpoint: object }).endpoint } };
}

const idOf = (body: object, key: string): string => String((body as Record<string, { id: string }>)[key]?.id);

/** The ids in an answer to `createProject`, as paths name them. */
export function idsOf(body: object): Record<string, string> {
  const { project, branch, endpoints, operations } = body as Record<'project' | 'branch', { id: string }> &
    Record<'endpoints' | 'operations', { id: string }[]>;
  return {
    project_id: project.id,
    branch_id: branch.id,
    endpoint_id: must(endpoints[0]).id,
    operation_id: must(operations[0]).id,
  };
}
