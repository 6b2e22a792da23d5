import type { ColumnType, Generated, JSONColumnType } from 'kysely';

/**
 * The metadata tables as Kysely types, one interface a table, each owned by one folder that alone writes it.
 * A test compares them with the live schema.
 */
export interface Tables {
  /** Owner: operations. */
  operations: OperationsTable;
}

export type Timestamp = ColumnType<Date, Date | string | undefined, Date | string>;

export interface OperationsTable {
  id: string;
  /** Order of enqueuing. */
  seq: Generated<string>;
  project_id: string;
  branch_id: string | null;
  endpoint_id: string | null;
  kind: string;
  action: string;
  input: JSONColumnType<Record<string, unknown>>;
  /** Ids of operations that must have finished. */
  depends_on: Generated<string[]>;
  step: string;
  status: Generated<'scheduling' | 'running' | 'failing' | 'finished' | 'failed' | 'cancelled' | 'skipped'>;
  failure: JSONColumnType<{ code: string; message: string; details: Record<string, unknown> }> | null;
  attempt: Generated<number>;
  failures_count: Generated<number>;
  next_run_at: Timestamp;
  lease_owner: string | null;
  lease_until: Timestamp | null;
  deadline_at: Timestamp | null;
  created_at: Timestamp;
  updated_at: Timestamp;
  started_at: Timestamp | null;
  ended_at: Timestamp | null;
}
