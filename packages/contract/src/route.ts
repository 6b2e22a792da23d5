import type { TObject, TSchema } from 'typebox';
import { id, requestObject, text, uuid } from './schema.ts';

/** One route of the management API as data: the server binds a handler to it, OpenAPI and the docs are made of it. */
export interface RouteDefinition {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below `/api/v2`, parameters in braces. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly params: TObject;
  readonly query: TObject;
  /** Without one, an empty body or `{}` is accepted. */
  readonly body?: TSchema;
  readonly status: 200 | 201 | 202;
  readonly response: TSchema;
  /** Status of errors of kind `conflict` where it is not 409. */
  readonly conflictStatus?: 412;
}

type Facts = Omit<RouteDefinition, 'method' | 'path' | 'params' | 'query' | 'status'> & {
  readonly status?: 201 | 202;
};

/** What most routes need. `params` and `query` are empty unless given. */
export function route<
  const M extends RouteDefinition['method'],
  const F extends Facts & { readonly params?: TObject; readonly query?: TObject },
>(method: M, path: string, facts: F) {
  return { method, path, params: none, query: none, status: 200, ...facts } as {
    readonly method: M;
    readonly path: string;
    readonly params: F['params'] extends TObject ? F['params'] : typeof none;
    readonly query: F['query'] extends TObject ? F['query'] : typeof none;
    readonly status: F['status'] extends 201 | 202 ? F['status'] : 200;
  } & Omit<F, 'params' | 'query' | 'status'>;
}

const none = requestObject({});

const project = { project_id: id('Project id.') };
const branch = { ...project, branch_id: id('Branch id.') };

/** Names come from SQL too, so any that Postgres could hold is looked up. */
const name = (description: string) => text(1, 255, description);

export const projectParams = requestObject(project);
export const branchParams = requestObject(branch);
export const endpointParams = requestObject({ ...project, endpoint_id: id('Endpoint id.') });
export const snapshotParams = requestObject({ ...project, snapshot_id: id('Snapshot id.') });
export const operationParams = requestObject({ ...project, operation_id: uuid('Operation id.') });
export const roleParams = requestObject({ ...branch, role_name: name('Name of the role.') });
export const databaseParams = requestObject({ ...branch, database_name: name('Name of the database.') });
