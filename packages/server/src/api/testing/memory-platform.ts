import { randomUUID } from 'node:crypto';
import {
  newApiKey,
  newOrganizationId,
  newProjectId,
  newRolePassword,
  type OrganizationId,
} from '@tenantry/contract/ids.ts';
import { must } from '../../kernel/assert.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { Secret } from '../../kernel/secret.ts';
import type {
  ApiKey,
  Branch,
  ConnectionInfo,
  Database,
  Endpoint,
  Operation,
  OperationAction,
  Page,
  PageRequest,
  Platform,
  Principal,
  Project,
  Role,
} from '../../platform/platform.ts';
import { newBranch, newEndpoint, newRole, NO_USAGE, NOW } from './memory-objects.ts';

/** The key that `MemoryPlatform` knows from the start. */
export const TEST_KEY = 'napi_test_key_of_the_operator';

interface StoredProject {
  project: Project;
  readonly branch: Branch;
  endpoint: Endpoint;
  readonly roles: Map<string, { role: Role; password: Secret | null }>;
  readonly databases: Map<string, Database>;
  readonly operations: Operation[];
}

/** The platform in memory: the port's contract without hosts, metadata or time. For tests of the API. */
export class MemoryPlatform implements Platform {
  readonly organizationId: OrganizationId = newOrganizationId();
  readonly userId = randomUUID();
  /** Thrown by the next call, whatever it is. */
  nextError: unknown = undefined;
  readonly #projects = new Map<string, StoredProject>();
  readonly #keys = new Map<string, ApiKey>();
  #lastId = 100;

  constructor() {
    this.#keys.set(TEST_KEY, this.#newApiKey('operator'));
  }

  readonly projects: Platform['projects'] = {
    create: async (_principal, input) => {
      this.#failIfTold();
      if ((input.pgVersion ?? 17) > 18) {
        throw new PlatformError('UNKNOWN_PG_VERSION', `Cannot run Postgres ${input.pgVersion}: choose 14 to 18`);
      }
      const id = newProjectId();
      const branch = newBranch(id, input.branch?.name ?? 'main');
      const databaseName = input.branch?.databaseName ?? 'neondb';
      const role = newRole(branch.id, input.branch?.roleName ?? `${databaseName}_owner`);
      const password = new Secret(newRolePassword());
      const stored: StoredProject = {
        project: {
          id,
          organizationId: this.organizationId,
          name: input.name ?? id,
          regionId: input.regionId ?? 'local',
          pgVersion: input.pgVersion ?? 17,
          settings: input.settings ?? {},
          defaultEndpointSettings: input.defaultEndpointSettings ?? {},
          historyRetentionSeconds: input.historyRetentionSeconds ?? 86_400,
          storePasswords: input.storePasswords ?? true,
          creatorUserId: this.userId,
          createdAt: NOW,
          updatedAt: NOW,
          computeLastActiveAt: null,
          usage: NO_USAGE,
        },
        branch,
        endpoint: newEndpoint(branch, input.regionId ?? 'local'),
        roles: new Map([[role.name, { role, password }]]),
        databases: new Map(),
        operations: [],
      };
      const database = this.#addDatabase(stored, databaseName, role.name);
      this.#projects.set(id, stored);
      const operations = [order(stored, 'create_timeline'), order(stored, 'start_compute')];
      const connection = connectionOf(stored, database.name, role.name);
      const { project, endpoint } = stored;
      return { project, branch, endpoints: [endpoint], role, password, database, connection, operations };
    },
    list: async (_principal, { search = '', ...page }) => {
      this.#failIfTold();
      const projects = [...this.#projects.values()].map(({ project }) => project);
      return pageOf(
        projects.filter(({ name }) => name.includes(search)),
        page,
      );
    },
    get: async (_principal, projectId) => this.#find(projectId).project,
    update: async (_principal, projectId, input) => {
      const stored = this.#find(projectId);
      stored.project = { ...stored.project, ...input };
      return { project: stored.project, operations: [order(stored, 'apply_config')] };
    },
    delete: async (_principal, projectId) => {
      const { project } = this.#find(projectId);
      this.#projects.delete(projectId);
      return project;
    },
    connection: async (_principal, projectId, { databaseName, roleName }) => {
      const stored = this.#find(projectId);
      this.#findRole(stored, roleName);
      this.#findDatabase(stored, databaseName);
      return connectionOf(stored, databaseName, roleName);
    },
  };

  readonly branches: Platform['branches'] = {
    list: async (_principal, projectId, page) => pageOf([this.#find(projectId).branch], page),
    get: async (_principal, projectId, branchId) => this.#findBranch(projectId, branchId).branch,
  };

  readonly endpoints: Platform['endpoints'] = {
    list: async (_principal, projectId, branchId) => {
      const stored = branchId === undefined ? this.#find(projectId) : this.#findBranch(projectId, branchId);
      return [stored.endpoint];
    },
    get: async (_principal, projectId, endpointId) => this.#findEndpoint(projectId, endpointId).endpoint,
    update: async (_principal, projectId, endpointId, input) => {
      const stored = this.#findEndpoint(projectId, endpointId);
      stored.endpoint = { ...stored.endpoint, ...input };
      return { endpoint: stored.endpoint, operations: [order(stored, 'apply_config')] };
    },
    start: async (_principal, projectId, endpointId) => this.#setState(projectId, endpointId, 'active'),
    suspend: async (_principal, projectId, endpointId) => this.#setState(projectId, endpointId, 'idle'),
    restart: async (_principal, projectId, endpointId) => this.#setState(projectId, endpointId, 'active'),
  };

  readonly roles: Platform['roles'] = {
    list: async (_principal, projectId, branchId) =>
      [...this.#findBranch(projectId, branchId).roles.values()].map(({ role }) => role),
    get: async (_principal, projectId, branchId, name) =>
      this.#findRole(this.#findBranch(projectId, branchId), name).role,
    create: async (_principal, projectId, branchId, { name, noLogin = false }) => {
      const stored = this.#findBranch(projectId, branchId);
      if (name.startsWith('pg_'))
        throw new PlatformError('RESERVED_NAME', `Cannot create role ${name}: it is reserved`);
      if (stored.roles.has(name)) throw new PlatformError('ALREADY_EXISTS', `Cannot create role ${name}: it exists`);
      const password = noLogin ? null : new Secret(newRolePassword());
      const role = newRole(stored.branch.id, name);
      stored.roles.set(name, { role, password });
      return { role, ...(password && { password }), operations: [order(stored, 'apply_config')] };
    },
    delete: async (_principal, projectId, branchId, name) => {
      const stored = this.#findBranch(projectId, branchId);
      const { role } = this.#findRole(stored, name);
      stored.roles.delete(name);
      return { role, operations: [order(stored, 'apply_config')] };
    },
    resetPassword: async (_principal, projectId, branchId, name) => {
      const stored = this.#findBranch(projectId, branchId);
      const password = new Secret(newRolePassword());
      const { role } = this.#findRole(stored, name);
      stored.roles.set(name, { role, password });
      return { role, password, operations: [order(stored, 'apply_config')] };
    },
    revealPassword: async (_principal, projectId, branchId, name) => {
      const stored = this.#findBranch(projectId, branchId);
      const { password } = this.#findRole(stored, name);
      if (!password || !stored.project.storePasswords) {
        throw new PlatformError('CONFLICT', `Cannot reveal the password of ${name}: reset it to get a new one`);
      }
      return password;
    },
  };

  readonly databases: Platform['databases'] = {
    list: async (_principal, projectId, branchId) => [...this.#findBranch(projectId, branchId).databases.values()],
    get: async (_principal, projectId, branchId, name) =>
      this.#findDatabase(this.#findBranch(projectId, branchId), name),
    create: async (_principal, projectId, branchId, { name, ownerName }) => {
      const stored = this.#findBranch(projectId, branchId);
      this.#findRole(stored, ownerName);
      return { database: this.#addDatabase(stored, name, ownerName), operations: [order(stored, 'apply_config')] };
    },
    update: async (_principal, projectId, branchId, name, input) => {
      const stored = this.#findBranch(projectId, branchId);
      const database = { ...this.#findDatabase(stored, name), ...input };
      stored.databases.delete(name);
      stored.databases.set(database.name, database);
      return { database, operations: [order(stored, 'apply_config')] };
    },
    delete: async (_principal, projectId, branchId, name) => {
      const stored = this.#findBranch(projectId, branchId);
      const database = this.#findDatabase(stored, name);
      stored.databases.delete(name);
      return { database, operations: [order(stored, 'apply_config')] };
    },
  };

  readonly operations: Platform['operations'] = {
    list: async (_principal, projectId, page) => pageOf(this.#find(projectId).operations.toReversed(), page),
    get: async (_principal, projectId, operationId) => {
      const operation = this.#find(projectId).operations.find(({ id }) => id === operationId);
      if (!operation) throw new PlatformError('NOT_FOUND', `Cannot find operation ${operationId}`);
      return operation;
    },
  };

  readonly apiKeys: Platform['apiKeys'] = {
    create: async (_principal, name) => {
      const key = newApiKey();
      const apiKey = this.#newApiKey(name);
      this.#keys.set(key, apiKey);
      return { apiKey, key: new Secret(key) };
    },
    list: async () => [...this.#keys.values()],
    revoke: async (_principal, apiKeyId) => {
      const [key, apiKey] = [...this.#keys].find(([, { id }]) => id === apiKeyId) ?? [];
      if (key === undefined || !apiKey) throw new PlatformError('NOT_FOUND', `Cannot find API key ${apiKeyId}`);
      this.#keys.delete(key);
      return apiKey;
    },
  };

  readonly accounts: Platform['accounts'] = {
    authenticate: async (key, fromAddress) => {
      const apiKey = this.#keys.get(key);
      if (!apiKey) throw new PlatformError('UNAUTHENTICATED', 'Cannot authenticate: the API key is unknown or revoked');
      this.#keys.set(key, { ...apiKey, lastUsedAt: NOW, lastUsedFromAddress: fromAddress });
      return this.#principal(apiKey.id);
    },
    me: async () => ({
      id: this.userId,
      email: 'operator@localhost.example',
      login: 'operator',
      name: 'Operator',
      projectsLimit: 100_000,
    }),
    organizations: async () => [
      {
        id: this.organizationId,
        name: 'Default',
        handle: 'default',
        plan: 'self_hosted',
        createdAt: NOW,
        updatedAt: NOW,
      },
    ],
  };

  #failIfTold(): void {
    const error = this.nextError;
    this.nextError = undefined;
    if (error !== undefined) throw error;
  }

  #principal(apiKeyId: number): Principal {
    return { kind: 'user', apiKeyId, userId: this.userId, organizationIds: [this.organizationId] };
  }

  #newApiKey(name: string): ApiKey {
    this.#lastId += 1;
    return {
      id: this.#lastId,
      name,
      createdAt: NOW,
      createdByUserId: this.userId,
      createdByName: 'Operator',
      lastUsedAt: null,
      lastUsedFromAddress: null,
    };
  }

  #find(projectId: string): StoredProject {
    this.#failIfTold();
    const stored = this.#projects.get(projectId);
    if (!stored) throw new PlatformError('NOT_FOUND', `Cannot find project ${projectId}`);
    return stored;
  }

  #findBranch(projectId: string, branchId: string): StoredProject {
    const stored = this.#find(projectId);
    if (stored.branch.id !== branchId) throw new PlatformError('NOT_FOUND', `Cannot find branch ${branchId}`);
    return stored;
  }

  #findEndpoint(projectId: string, endpointId: string): StoredProject {
    const stored = this.#find(projectId);
    if (stored.endpoint.id !== endpointId) throw new PlatformError('NOT_FOUND', `Cannot find endpoint ${endpointId}`);
    return stored;
  }

  #findRole(stored: StoredProject, name: string): { role: Role; password: Secret | null } {
    const found = stored.roles.get(name);
    if (!found) throw new PlatformError('NOT_FOUND', `Cannot find role ${name}`);
    return found;
  }

  #findDatabase(stored: StoredProject, name: string): Database {
    const found = stored.databases.get(name);
    if (!found) throw new PlatformError('NOT_FOUND', `Cannot find database ${name}`);
    return found;
  }

  #addDatabase(stored: StoredProject, name: string, ownerName: string): Database {
    this.#lastId += 1;
    const database = {
      id: this.#lastId,
      branchId: stored.branch.id,
      name,
      ownerName,
      createdAt: NOW,
      updatedAt: NOW,
    };
    stored.databases.set(name, database);
    return database;
  }

  #setState(projectId: string, endpointId: string, state: 'active' | 'idle') {
    const stored = this.#findEndpoint(projectId, endpointId);
    stored.endpoint = { ...stored.endpoint, state };
    const action = state === 'active' ? 'start_compute' : 'suspend_compute';
    return { endpoint: stored.endpoint, operations: [order(stored, action)] };
  }
}

function order(stored: StoredProject, action: OperationAction): Operation {
  const operation: Operation = {
    id: randomUUID(),
    projectId: stored.project.id,
    branchId: stored.branch.id,
    endpointId: action === 'create_timeline' ? null : stored.endpoint.id,
    action,
    status: 'finished',
    error: null,
    failuresCount: 0,
    retryAt: null,
    createdAt: NOW,
    updatedAt: NOW,
    totalDurationMs: 12.5,
  };
  stored.operations.push(operation);
  return operation;
}

function connectionOf(stored: StoredProject, database: string, role: string): ConnectionInfo {
  const password = must(stored.roles.get(role)).password ?? new Secret('');
  return {
    connectionUri: `postgresql://${role}:${password.reveal()}@localhost:5432/${database}?options=endpoint%3D${stored.endpoint.id}`,
    database,
    role,
    password,
    host: 'localhost',
    poolerHost: 'localhost',
  };
}

/** The cursor is the index of the next item. */
function pageOf<T>(all: readonly T[], { limit, cursor = '0' }: PageRequest): Page<T> {
  const start = Number(cursor);
  const items = all.slice(start, start + limit);
  return start + limit < all.length ? { items, nextCursor: String(start + limit) } : { items };
}
