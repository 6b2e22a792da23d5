import type { Branch } from '@neondatabase/api-client';
import type { Api, ApiAnswer, ApiFailure, Endpoint, Operation } from '../support/api.ts';
import { must } from '../support/must.ts';
import { waitUntil } from '../support/wait-until.ts';

/** A moment as a client asks for it; `head` names none. */
export type At =
  | { readonly kind: 'head' }
  | { readonly kind: 'lsn'; readonly lsn: string }
  /** RFC 3339, with microseconds. */
  | { readonly kind: 'time'; readonly time: string };

export const HEAD: At = { kind: 'head' };

/** A branch with a read-write endpoint. `id` is the project's, so that it serves as an `EndpointRef`. */
export interface TestBranch {
  readonly id: string;
  readonly branchId: string;
  readonly endpointId: string;
  readonly uri: string;
}

interface BranchAnswer {
  readonly branch: Branch;
  readonly operations: readonly Operation[];
  readonly endpoints?: readonly Endpoint[];
  readonly connection_uris?: readonly { readonly connection_uri: string }[];
}

/** Branches of one project through the API, as a client of Neon's would handle them. */
export class BranchApi {
  readonly api: Api;
  readonly projectId: string;

  constructor(api: Api, projectId: string) {
    this.api = api;
    this.projectId = projectId;
  }

  /** One POST; gives back whatever is answered. */
  async tryCreate(parentId: string, at: At, name?: string): Promise<ApiAnswer<BranchAnswer & ApiFailure>> {
    const moment = at.kind === 'lsn' ? { parent_lsn: at.lsn } : at.kind === 'time' ? { parent_timestamp: at.time } : {};
    return await this.api.request<BranchAnswer & ApiFailure>('POST', this.#path(), {
      branch: { parent_id: parentId, ...(name === undefined ? {} : { name }), ...moment },
      endpoints: [{ type: 'read_write' }],
    });
  }

  /** Creates a branch with an endpoint, and does not wait for more than the answer. */
  async create(parentId: string, at: At = HEAD, name?: string): Promise<TestBranch> {
    const { status, body } = await this.tryCreate(parentId, at, name);
    if (status !== 201) throw new Error(`POST branches ${JSON.stringify(at)}: ${status} ${JSON.stringify(body)}`);
    return {
      id: this.projectId,
      branchId: body.branch.id,
      endpointId: must(body.endpoints?.[0], 'endpoint of the new branch').id,
      uri: must(body.connection_uris?.[0], 'connection URI of the new branch').connection_uri,
    };
  }

  async get(branchId: string): Promise<Branch> {
    return (await this.api.call<{ branch: Branch }>('GET', this.#path(branchId))).branch;
  }

  async list(): Promise<readonly Branch[]> {
    const all: Branch[] = [];
    for (let cursor: string | undefined; ;) {
      type Page = { branches: Branch[]; pagination?: { next?: string } };
      const query = `?limit=100${cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
      const page = await this.api.call<Page>('GET', this.#path() + query);
      all.push(...page.branches);
      cursor = page.pagination?.next;
      if (cursor === undefined || page.branches.length === 0) return all;
    }
  }

  async restore(branchId: string, sourceId: string, at: At, preserveUnderName?: string): Promise<Branch> {
    const answer = await this.tryRestore(branchId, sourceId, at, preserveUnderName);
    if (answer.status !== 200)
      throw new Error(`POST restore ${JSON.stringify(at)}: ${answer.status} ${JSON.stringify(answer.body)}`);
    await this.ended(answer.body.operations);
    return answer.body.branch;
  }

  async tryRestore(
    branchId: string,
    sourceId: string,
    at: At,
    preserveUnderName?: string,
  ): Promise<ApiAnswer<BranchAnswer & ApiFailure>> {
    return await this.api.request<BranchAnswer & ApiFailure>('POST', `${this.#path(branchId)}/restore`, {
      source_branch_id: sourceId,
      ...(at.kind === 'lsn' ? { source_lsn: at.lsn } : {}),
      ...(at.kind === 'time' ? { source_timestamp: at.time } : {}),
      ...(preserveUnderName === undefined ? {} : { preserve_under_name: preserveUnderName }),
    });
  }

  /** Deletes for good; true if there is no such branch any more. */
  async tryDelete(branchId: string): Promise<boolean> {
    const answer = await this.api.request<BranchAnswer>('DELETE', `${this.#path(branchId)}?hard_delete=true`);
    if (answer.status === 200) await this.ended(answer.body.operations);
    return [200, 204, 404].includes(answer.status);
  }

  async delete(branchId: string): Promise<void> {
    const answer = await this.api.request<BranchAnswer>('DELETE', `${this.#path(branchId)}?hard_delete=true`);
    if (answer.status !== 200 && answer.status !== 204)
      throw new Error(`DELETE ${branchId}: ${answer.status} ${JSON.stringify(answer.body)}`);
    if (answer.status === 200) await this.ended(answer.body.operations);
  }

  /** The branch's read-write endpoint and URI, as one finds them by looking. */
  async open(branchId: string): Promise<TestBranch> {
    const endpoint = (await this.api.endpoints(this.projectId)).find(
      (e) => e.branch_id === branchId && (e.type as string) === 'read_write',
    );
    if (!endpoint) {
      await this.api.call('POST', `/projects/${this.projectId}/endpoints`, {
        endpoint: { branch_id: branchId, type: 'read_write' },
      });
      return await this.open(branchId);
    }
    const query = `branch_id=${branchId}&database_name=neondb&role_name=neondb_owner`;
    const { uri } = await this.api.call<{ uri: string }>('GET', `/projects/${this.projectId}/connection_uri?${query}`);
    return { id: this.projectId, branchId, endpointId: endpoint.id, uri };
  }

  /** Waits until these operations have finished. @throws Error if one failed */
  async ended(operations: readonly Operation[]): Promise<void> {
    for (const { id } of operations) {
      const { operation } = await waitUntil(
        `operation ${id}`,
        async () => {
          const answer = await this.api.call<{ operation: Operation }>(
            'GET',
            `/projects/${this.projectId}/operations/${id}`,
          );
          return ['scheduling', 'running', 'cancelling'].includes(answer.operation.status) ? undefined : answer;
        },
        60_000,
      );
      if (!['finished', 'skipped'].includes(operation.status))
        throw new Error(`Operation ended ${operation.status}: ${JSON.stringify(operation)}`);
    }
  }

  #path(branchId?: string): string {
    const path = `/projects/${this.projectId}/branches`;
    return branchId === undefined ? path : `${path}/${branchId}`;
  }
}
