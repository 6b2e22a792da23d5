import type {
  Branch,
  BranchResponse,
  ConnectionURIsResponse,
  Database,
  DatabaseOperations,
  DatabasesResponse,
  Endpoint as NeonEndpoint,
  Operation as NeonOperation,
  ProjectResponse,
  ProjectsResponse,
  Role,
  RoleOperations,
  RolesResponse,
} from '@neondatabase/api-client';
import { must } from './must.ts';
import { waitUntil } from './wait-until.ts';

export interface ApiAnswer<T = unknown> {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed JSON, or the text where it is none. */
  readonly body: T;
}

/** As Neon's types, with strings for enums. */
export type Endpoint = Omit<NeonEndpoint, 'current_state'> & { readonly current_state: string };
export type Operation = Omit<NeonOperation, 'action' | 'status'> & { readonly action: string; readonly status: string };
interface EndpointsResponse {
  readonly endpoints: readonly Endpoint[];
}
interface OperationsResponse {
  readonly operations: readonly Operation[];
}

export type CreatedProject = ProjectResponse &
  ConnectionURIsResponse &
  RolesResponse &
  DatabasesResponse &
  OperationsResponse &
  BranchResponse &
  EndpointsResponse;

export interface ApiFailure {
  readonly code: string;
  readonly message: string;
  readonly request_id?: string;
}

/** A project as tests need it: its ids and the URI to paste. */
export interface TestProject {
  readonly id: string;
  readonly branchId: string;
  readonly endpointId: string;
  readonly uri: string;
  readonly password: string;
  readonly created: CreatedProject;
}

/** What is needed to name an endpoint, of a project's first branch or of any other. */
export type EndpointRef = Pick<TestProject, 'id' | 'endpointId'>;

/** A thin client of the management API: it hides the transport, nothing else. */
export class Api {
  readonly url: string;
  readonly key: string;

  constructor(url: string, key: string) {
    this.url = url;
    this.key = key;
  }

  /** Any request; never throws for a status. Strings and buffers are sent as they are, the rest as JSON. */
  async request<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    options: { readonly headers?: Readonly<Record<string, string>>; readonly timeoutMs?: number } = {},
  ): Promise<ApiAnswer<T>> {
    const isRaw = typeof body === 'string' || body instanceof Uint8Array;
    const response = await fetch(this.url + path, {
      method,
      headers: {
        authorization: `Bearer ${this.key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...options.headers,
      },
      signal: AbortSignal.timeout(options.timeoutMs ?? 60_000),
      ...(body === undefined ? {} : { body: isRaw ? (body as string) : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: parse(text) as T };
  }

  /** A request that must succeed. @throws Error with the answer */
  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.request<T>(method, path, body);
    if (answer.status < 200 || answer.status > 299) {
      throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    }
    return answer.body;
  }

  /** Creates a project and waits until its operations have ended. */
  async createProject(project: Record<string, unknown> = {}): Promise<TestProject> {
    const created = await this.call<CreatedProject>('POST', '/projects', { project });
    await this.settled(created.project.id);
    return asTestProject(created);
  }

  async deleteProject(projectId: string): Promise<void> {
    await this.call('DELETE', `/projects/${projectId}`);
  }

  async projects(): Promise<ProjectsResponse['projects']> {
    const all: ProjectsResponse['projects'] = [];
    for (let cursor = ''; ;) {
      type Page = ProjectsResponse & { pagination?: { cursor?: string } };
      const page = await this.call<Page>(
        'GET',
        `/projects?limit=400${cursor && `&cursor=${encodeURIComponent(cursor)}`}`,
      );
      all.push(...page.projects);
      if (page.projects.length < 400) return all;
      cursor = must(page.pagination?.cursor, 'cursor of the next page');
    }
  }

  async endpoint(project: EndpointRef): Promise<Endpoint> {
    const path = `/projects/${project.id}/endpoints/${project.endpointId}`;
    return (await this.call<{ endpoint: Endpoint }>('GET', path)).endpoint;
  }

  async endpoints(projectId: string): Promise<readonly Endpoint[]> {
    return (await this.call<EndpointsResponse>('GET', `/projects/${projectId}/endpoints`)).endpoints;
  }

  async branch(project: TestProject): Promise<Branch> {
    return (await this.call<BranchResponse>('GET', `/projects/${project.id}/branches/${project.branchId}`)).branch;
  }

  async updateEndpoint(project: EndpointRef, endpoint: Record<string, unknown>): Promise<void> {
    await this.call('PATCH', `/projects/${project.id}/endpoints/${project.endpointId}`, { endpoint });
    await this.settled(project.id);
  }

  /** Suspends through the API and waits until the endpoint is idle. */
  async suspend(project: EndpointRef): Promise<void> {
    await this.call('POST', `/projects/${project.id}/endpoints/${project.endpointId}/suspend`);
    await this.untilIdle(project);
  }

  async start(project: EndpointRef): Promise<void> {
    await this.call('POST', `/projects/${project.id}/endpoints/${project.endpointId}/start`);
  }

  async untilIdle(project: EndpointRef, timeoutMs = 20_000): Promise<Endpoint> {
    return await waitUntil(
      `endpoint ${project.endpointId} idle`,
      async () => {
        const endpoint = await this.endpoint(project);
        if (endpoint.current_state !== 'idle') throw new Error(`it is ${JSON.stringify(endpoint)}`);
        return endpoint;
      },
      timeoutMs,
    );
  }

  async createRole(project: TestProject, name: string): Promise<Role> {
    const path = `/projects/${project.id}/branches/${project.branchId}/roles`;
    const { role } = await this.call<RoleOperations>('POST', path, { role: { name } });
    await this.settled(project.id);
    return role;
  }

  async roles(project: TestProject): Promise<readonly Role[]> {
    return (await this.call<RolesResponse>('GET', `/projects/${project.id}/branches/${project.branchId}/roles`)).roles;
  }

  async createDatabase(project: TestProject, name: string, owner: string): Promise<Database> {
    const path = `/projects/${project.id}/branches/${project.branchId}/databases`;
    const { database } = await this.call<DatabaseOperations>('POST', path, { database: { name, owner_name: owner } });
    await this.settled(project.id);
    return database;
  }

  async databases(project: TestProject): Promise<readonly Database[]> {
    const path = `/projects/${project.id}/branches/${project.branchId}/databases`;
    return (await this.call<DatabasesResponse>('GET', path)).databases;
  }

  async operations(projectId: string): Promise<readonly Operation[]> {
    return (await this.call<OperationsResponse>('GET', `/projects/${projectId}/operations?limit=1000`)).operations;
  }

  /** Waits until every operation of the project has ended, and demands that none failed. */
  async settled(projectId: string, timeoutMs = 60_000): Promise<readonly Operation[]> {
    const operations = await waitUntil(
      `all operations of ${projectId} ended`,
      async () => {
        const all = await this.operations(projectId);
        const open = all.filter((o) => ['scheduling', 'running', 'cancelling'].includes(o.status));
        if (open.length > 0) throw new Error(`open: ${JSON.stringify(open)}`);
        return all;
      },
      timeoutMs,
    );
    const failed = operations.filter((o) => o.status === 'failed' || o.status === 'error');
    if (failed.length > 0) throw new Error(`Operations failed: ${JSON.stringify(failed)}`);
    return operations;
  }
}

export function asTestProject(created: CreatedProject): TestProject {
  const connection = must(created.connection_uris[0], 'connection URI of the new project');
  return {
    id: created.project.id,
    branchId: created.branch.id,
    endpointId: must(created.endpoints[0], 'endpoint of the new project').id,
    uri: connection.connection_uri,
    password: connection.connection_parameters.password,
    created,
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
