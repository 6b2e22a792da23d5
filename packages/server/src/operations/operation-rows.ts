import { sql, type Kysely } from 'kysely';
import { PlatformError } from '../kernel/errors.ts';
import type { Tables } from '../metadata/tables.ts';
import type { OperationFailure, OperationOutcome } from './operation.ts';

/** An operation as its readers see it. */
export interface OperationRecord {
  readonly id: string;
  readonly projectId: string;
  readonly branchId: string | null;
  readonly endpointId: string | null;
  readonly kind: string;
  /** As its definition names it. */
  readonly action: string;
  /** An operation that is being cleaned up after its failure is still running. */
  readonly status: OperationOutcome['status'];
  /** Of the last failed try, while it is retried; for good, if the status is `failed`. */
  readonly failure: OperationFailure | null;
  readonly failuresCount: number;
  /** When the next try is due; null if none is. */
  readonly retryAt: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** From enqueuing to the end, or to now. */
  readonly totalDurationMs: number;
  /** A page that begins after this operation. */
  readonly cursor: string;
}

export interface OperationPage {
  readonly items: readonly OperationRecord[];
  /** Absent on the last page. */
  readonly nextCursor?: string;
}

const columns = sql`
  id, project_id as "projectId", branch_id as "branchId", endpoint_id as "endpointId", kind, action,
  case status when 'failing' then 'running' else status end as status, failure, failures_count as "failuresCount",
  case when ended_at is null and failure is not null and lease_owner is null then next_run_at end as "retryAt",
  created_at as "createdAt", updated_at as "updatedAt",
  (extract(epoch from coalesce(ended_at, clock_timestamp()) - created_at) * 1000)::float8 as "totalDurationMs",
  to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '_' || id as cursor
`;

/** Of a project; undefined if it has no such operation. */
export async function findOperation(
  db: Kysely<Tables>,
  projectId: string,
  operationId: string,
): Promise<OperationRecord | undefined> {
  if (!UUID.test(operationId)) return undefined;
  const { rows } = await sql<OperationRecord>`
    select ${columns} from operations where id = ${operationId} and project_id = ${projectId}
  `.execute(db);
  return rows[0];
}

/** The operations with these ids, in the order of enqueuing; those that do not exist are left out. */
export async function listOperationsByIds(
  db: Kysely<Tables>,
  operationIds: readonly string[],
): Promise<readonly OperationRecord[]> {
  const { rows } = await sql<OperationRecord>`
    select ${columns} from operations where id = any (${operationIds}::uuid[]) order by seq
  `.execute(db);
  return rows;
}

/**
 * A page of a project's operations, newest first.
 * @throws PlatformError INVALID_REQUEST if the cursor is not one that a page has given
 */
export async function listOperations(
  db: Kysely<Tables>,
  projectId: string,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
): Promise<OperationPage> {
  const after = cursor === undefined ? undefined : parseCursor(cursor);
  const { rows } = await sql<OperationRecord>`
    select ${columns} from operations
    where project_id = ${projectId}
      ${after ? sql`and (created_at, id) < (${after.createdAt}::timestamptz, ${after.id}::uuid)` : sql``}
    order by created_at desc, id desc
    limit ${limit + 1}
  `.execute(db);
  const items = rows.slice(0, limit);
  const last = rows.length > limit ? items.at(-1) : undefined;
  return last ? { items, nextCursor: last.cursor } : { items };
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** A time with microseconds, which a Date would lose, and the id that breaks ties. */
function parseCursor(cursor: string): { readonly createdAt: string; readonly id: string } {
  const [createdAt = '', id = ''] = cursor.split('_');
  if (!isTime(createdAt) || !UUID.test(id)) {
    throw new PlatformError('INVALID_REQUEST', 'Cannot list operations: the cursor is not one of a page before');
  }
  return { createdAt, id };
}

/** A time that exists: Date.parse takes 31 February for 3 March. */
function isTime(text: string): boolean {
  const date = new Date(text);
  return (
    /\.\d{6}Z$/.test(text) && !Number.isNaN(date.valueOf()) && date.toISOString().slice(0, 19) === text.slice(0, 19)
  );
}
