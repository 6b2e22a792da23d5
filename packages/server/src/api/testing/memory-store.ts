import { randomUUID } from 'node:crypto';
import type { ProjectId } from '@tenantry/contract/ids.ts';
import { must } from '../../kernel/assert.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { Secret } from '../../kernel/secret.ts';
import type {
  Branch,
  ConnectionInfo,
  Database,
  Endpoint,
  Operation,
  OperationAction,
  Page,
  PageRequest,
  Project,
  Role,
  Snapshot,
  SnapshotScheduleItem,
} from '../../platform/platform.ts';
import { NOW } from './memory-objects.ts';

export interface StoredBranch {
  branch: Branch;
  readonly roles: Map<string, { role: Role; password: Secret | null }>;
  readonly databases: Map<string, Database>;
  schedule: readonly SnapshotScheduleItem[];
}

export interface StoredProject {
  project: Project;
  readonly branches: Map<string, StoredBranch>;
  readonly endpoints: Map<string, Endpoint>;
  readonly snapshots: Map<string, Snapshot>;
  readonly operations: Operation[];
}

/** The projects of a platform in memory. */
export class MemoryStore {
  readonly projects = new Map<string, StoredProject>();
  /** Thrown by the next call, whatever it is. */
  nextError: unknown = undefined;
  #lastId = 100;

  nextId(): number {
    return (this.#lastId += 1);
  }

  failIfTold(): void {
    const error = this.nextError;
    this.nextError = undefined;
    if (error !== undefined) throw error;
  }

  add(project: Project): StoredProject {
    const maps = { branches: new Map(), endpoints: new Map(), snapshots: new Map() };
    const stored: StoredProject = { project, ...maps, operations: [] };
    this.projects.set(project.id, stored);
    return stored;
  }

  find(projectId: string): StoredProject {
    this.failIfTold();
    return found('project', projectId, this.projects.get(projectId));
  }

  findBranch(projectId: string, branchId: string): StoredBranch {
    return found('branch', branchId, this.find(projectId).branches.get(branchId));
  }

  findEndpoint(projectId: string, endpointId: string): Endpoint {
    return found('endpoint', endpointId, this.find(projectId).endpoints.get(endpointId));
  }

  findSnapshot(projectId: string, snapshotId: string): Snapshot {
    return found('snapshot', snapshotId, this.find(projectId).snapshots.get(snapshotId));
  }

  changeEndpoint(projectId: string, endpointId: string, change: Partial<Endpoint>): Endpoint {
    const endpoint = { ...this.findEndpoint(projectId, endpointId), ...change };
    this.find(projectId).endpoints.set(endpointId, endpoint);
    return endpoint;
  }

  addDatabase({ branch, databases }: StoredBranch, name: string, ownerName: string): Database {
    const database = { id: this.nextId(), branchId: branch.id, name, ownerName, createdAt: NOW, updatedAt: NOW };
    databases.set(name, database);
    return database;
  }

  /** An operation that has finished. */
  order(projectId: ProjectId, action: OperationAction, of: Partial<Pick<Operation, 'branchId' | 'endpointId'>>) {
    const operation: Operation = {
      id: randomUUID(),
      projectId,
      branchId: null,
      endpointId: null,
      ...of,
      action,
      status: 'finished',
      error: null,
      failuresCount: 0,
      retryAt: null,
      createdAt: NOW,
      updatedAt: NOW,
      totalDurationMs: 12.5,
    };
    this.projects.get(projectId)?.operations.push(operation);
    return operation;
  }
}

export function found<T>(what: string, id: string, value: T | undefined): T {
  if (value === undefined) throw new PlatformError('NOT_FOUND', `Cannot find ${what} ${id}`);
  return value;
}

export const newStoredBranch = (branch: Branch): StoredBranch => ({
  branch,
  roles: new Map(),
  databases: new Map(),
  schedule: [],
});

interface ConnectionTarget {
  readonly endpoint: Endpoint;
  readonly database: string;
  readonly role: string;
}

export function connectionOf({ roles }: StoredBranch, { endpoint, database, role }: ConnectionTarget): ConnectionInfo {
  const password = must(roles.get(role)).password ?? new Secret('');
  return {
    connectionUri: `postgresql://${role}:${password.reveal()}@localhost:5432/${database}?options=endpoint%3D${endpoint.id}`,
    database,
    role,
    password,
    host: 'localhost',
    poolerHost: 'localhost',
  };
}

/** The cursor is the index of the next item. */
export function pageOf<T>(all: readonly T[], { limit, cursor = '0' }: PageRequest): Page<T> {
  const start = Number(cursor);
  const items = all.slice(start, start + limit);
  return start + limit < all.length ? { items, nextCursor: String(start + limit) } : { items };
}
