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
  CreatedProject,
  CreateProjectInput,
  Database,
  EndpointChange,
  Operation,
  Platform,
  Principal,
  Role,
} from '../../platform/platform.ts';
import { memoryBranches } from './memory-branches.ts';
import { newBranch, newEndpoint, newRole, NO_USAGE, NOW } from './memory-objects.ts';
import { memorySnapshots } from './memory-snapshots.ts';
import { connectionOf, found, MemoryStore, newStoredBranch, pageOf } from './memory-store.ts';

/** The key that `MemoryPlatform` knows from the start. */
export const TEST_KEY = 'napi_test_key_of_the_operator';

/** The platform in memory: the port's contract without hosts, metadata or time. For tests of the API. */
export class MemoryPlatform implements Platform {
  readonly organizationId: OrganizationId = newOrganizationId();
  readonly userId = randomUUID();
  readonly #store = new MemoryStore();
  readonly #keys = new Map<string, ApiKey>();

  constructor() {
    this.#keys.set(TEST_KEY, this.#newApiKey('operator'));
  }

  /** Thrown by the next call, whatever it is. */
  set nextError(error: unknown) {
    this.#store.nextError = error;
  }

  readonly projects: Platform['projects'] = {
    create: async (_principal, input) => this.#createProject(input),
    list: async (_principal, { search = '', ...page }) => {
      this.#store.failIfTold();
      const projects = [...this.#store.projects.values()].map(({ project }) => project);
      return pageOf(
        projects.filter(({ name }) => name.includes(search)),
        page,
      );
    },
    get: async (_principal, projectId) => this.#store.find(projectId).project,
    update: async (_principal, projectId, input) => {
      const stored = this.#store.find(projectId);
      stored.project = { ...stored.project, ...input };
      return { project: stored.project, operations: [this.#store.order(projectId, 'apply_config', {})] };
    },
    delete: async (_principal, projectId) => {
      const { project } = this.#store.find(projectId);
      this.#store.projects.delete(projectId);
      return project;
    },
    connection: async (_principal, projectId, { branchId, databaseName, roleName }) => {
      const { branches, endpoints } = this.#store.find(projectId);
      const stored = [...branches.values()].find(({ branch }) => branch.id === branchId || branch.isDefault);
      const endpoint = [...endpoints.values()].find((one) => one.branchId === stored?.branch.id);
      const branch = must(stored);
      found('role', roleName, branch.roles.get(roleName));
      found('database', databaseName, branch.databases.get(databaseName));
      return connectionOf(branch, { endpoint: must(endpoint), database: databaseName, role: roleName });
    },
  };

  readonly branches: Platform['branches'] = memoryBranches(this.#store);
  readonly snapshots: Platform['snapshots'] = memorySnapshots(this.#store);

  readonly endpoints: Platform['endpoints'] = {
    list: async (_principal, projectId, branchId) => {
      if (branchId !== undefined) this.#store.findBranch(projectId, branchId);
      const all = [...this.#store.find(projectId).endpoints.values()];
      return all.filter((endpoint) => branchId === undefined || endpoint.branchId === branchId);
    },
    get: async (_principal, projectId, endpointId) => this.#store.findEndpoint(projectId, endpointId),
    create: async (_principal, projectId, { branchId, ...input }) => {
      const { branch } = this.#store.findBranch(projectId, branchId);
      const { project, endpoints } = this.#store.find(projectId);
      const endpoint = { ...newEndpoint(branch, project.regionId), ...input };
      const { id: endpointId } = endpoint;
      endpoints.set(endpointId, endpoint);
      return { endpoint, operations: [this.#store.order(projectId, 'start_compute', { endpointId })] };
    },
    delete: async (_principal, projectId, endpointId) => {
      const endpoint = this.#store.findEndpoint(projectId, endpointId);
      this.#store.find(projectId).endpoints.delete(endpointId);
      const { id } = endpoint;
      return { endpoint, operations: [this.#store.order(projectId, 'suspend_compute', { endpointId: id })] };
    },
    update: async (_principal, projectId, endpointId, input) => {
      const endpoint = this.#store.changeEndpoint(projectId, endpointId, input);
      return { endpoint, operations: [this.#store.order(projectId, 'apply_config', { endpointId: endpoint.id })] };
    },
    start: async (_principal, projectId, endpointId) => this.#setState(projectId, endpointId, 'active'),
    suspend: async (_principal, projectId, endpointId) => this.#setState(projectId, endpointId, 'idle'),
    restart: async (_principal, projectId, endpointId) => this.#setState(projectId, endpointId, 'active'),
  };

  readonly roles: Platform['roles'] = {
    list: async (_principal, projectId, branchId) =>
      [...this.#store.findBranch(projectId, branchId).roles.values()].map(({ role }) => role),
    get: async (_principal, projectId, branchId, name) => this.#findRole(projectId, branchId, name).role,
    create: async (_principal, projectId, branchId, { name, noLogin = false }) => {
      const { branch, roles } = this.#store.findBranch(projectId, branchId);
      if (name.startsWith('pg_'))
        throw new PlatformError('RESERVED_NAME', `Cannot create role ${name}: it is reserved`);
      if (roles.has(name)) throw new PlatformError('ALREADY_EXISTS', `Cannot create role ${name}: it exists`);
      const password = noLogin ? null : new Secret(newRolePassword());
      const role = newRole(branch.id, name);
      roles.set(name, { role, password });
      return { role, ...(password && { password }), operations: this.#applied(branch) };
    },
    delete: async (_principal, projectId, branchId, name) => {
      const { role } = this.#findRole(projectId, branchId, name);
      const { branch, roles } = this.#store.findBranch(projectId, branchId);
      roles.delete(name);
      return { role, operations: this.#applied(branch) };
    },
    resetPassword: async (_principal, projectId, branchId, name) => {
      const password = new Secret(newRolePassword());
      const { role } = this.#findRole(projectId, branchId, name);
      const { branch, roles } = this.#store.findBranch(projectId, branchId);
      roles.set(name, { role, password });
      return { role, password, operations: this.#applied(branch) };
    },
    revealPassword: async (_principal, projectId, branchId, name) => {
      const { password } = this.#findRole(projectId, branchId, name);
      if (!password || !this.#store.find(projectId).project.storePasswords) {
        throw new PlatformError('CONFLICT', `Cannot reveal the password of ${name}: reset it to get a new one`);
      }
      return password;
    },
  };

  readonly databases: Platform['databases'] = {
    list: async (_principal, projectId, branchId) => [
      ...this.#store.findBranch(projectId, branchId).databases.values(),
    ],
    get: async (_principal, projectId, branchId, name) => this.#findDatabase(projectId, branchId, name),
    create: async (_principal, projectId, branchId, { name, ownerName }) => {
      this.#findRole(projectId, branchId, ownerName);
      const stored = this.#store.findBranch(projectId, branchId);
      return {
        database: this.#store.addDatabase(stored, name, ownerName),
        operations: this.#applied(stored.branch),
      };
    },
    update: async (_principal, projectId, branchId, name, input) => {
      const database = { ...this.#findDatabase(projectId, branchId, name), ...input };
      const { branch, databases } = this.#store.findBranch(projectId, branchId);
      databases.delete(name);
      databases.set(database.name, database);
      return { database, operations: this.#applied(branch) };
    },
    delete: async (_principal, projectId, branchId, name) => {
      const database = this.#findDatabase(projectId, branchId, name);
      const { branch, databases } = this.#store.findBranch(projectId, branchId);
      databases.delete(name);
      return { database, operations: this.#applied(branch) };
    },
  };

  readonly operations: Platform['operations'] = {
    list: async (_principal, projectId, page) => pageOf(this.#store.find(projectId).operations.toReversed(), page),
    get: async (_principal, projectId, operationId) =>
      found(
        'operation',
        operationId,
        this.#store.find(projectId).operations.find(({ id }) => id === operationId),
      ),
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

  #principal(apiKeyId: number): Principal {
    return { kind: 'user', apiKeyId, userId: this.userId, organizationIds: [this.organizationId] };
  }

  #newApiKey(name: string): ApiKey {
    return {
      id: this.#store.nextId(),
      name,
      createdAt: NOW,
      createdByUserId: this.userId,
      createdByName: 'Operator',
      lastUsedAt: null,
      lastUsedFromAddress: null,
    };
  }

  #createProject(input: CreateProjectInput): CreatedProject {
    this.#store.failIfTold();
    if ((input.pgVersion ?? 17) > 18) {
      throw new PlatformError('UNKNOWN_PG_VERSION', `Cannot run Postgres ${input.pgVersion}: choose 14 to 18`);
    }
    const id = newProjectId();
    const stored = this.#store.add({
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
    });
    const { project } = stored;
    const branch = { ...newBranch(id, input.branch?.name ?? 'main'), annotations: input.branch?.annotations ?? {} };
    const below = newStoredBranch(branch);
    stored.branches.set(branch.id, below);
    const endpoint = newEndpoint(branch, project.regionId);
    stored.endpoints.set(endpoint.id, endpoint);
    const databaseName = input.branch?.databaseName ?? 'neondb';
    const role = newRole(branch.id, input.branch?.roleName ?? `${databaseName}_owner`);
    const password = new Secret(newRolePassword());
    below.roles.set(role.name, { role, password });
    const database = this.#store.addDatabase(below, databaseName, role.name);
    const connection = connectionOf(below, { endpoint, database: databaseName, role: role.name });
    const operations = [
      this.#store.order(id, 'create_timeline', { branchId: branch.id }),
      this.#store.order(id, 'start_compute', { branchId: branch.id, endpointId: endpoint.id }),
    ];
    return { project, branch, endpoints: [endpoint], role, password, database, connection, operations };
  }

  #findRole(projectId: string, branchId: string, name: string): { role: Role; password: Secret | null } {
    return found('role', name, this.#store.findBranch(projectId, branchId).roles.get(name));
  }

  #findDatabase(projectId: string, branchId: string, name: string): Database {
    return found('database', name, this.#store.findBranch(projectId, branchId).databases.get(name));
  }

  #applied({ projectId, id }: Branch): Operation[] {
    return [this.#store.order(projectId, 'apply_config', { branchId: id })];
  }

  #setState(projectId: string, endpointId: string, state: 'active' | 'idle'): EndpointChange {
    const endpoint = this.#store.changeEndpoint(projectId, endpointId, { state });
    const action = state === 'active' ? 'start_compute' : 'suspend_compute';
    return { endpoint, operations: [this.#store.order(projectId, action, { endpointId: endpoint.id })] };
  }
}
