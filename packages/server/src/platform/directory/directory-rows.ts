import { sql, type Kysely, type Transaction } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';
import type { ProjectSettings } from '../platform.ts';
import { isId } from '../checks.ts';

/** How a gateway authenticates for, and reaches, one endpoint. */
export interface DirectoryEntry {
  readonly endpointId: string;
  readonly branchId: string;
  readonly projectId: string;
  readonly hostId: string;
  readonly disabled: boolean;
  /** Role name -> SCRAM verifier. Roles that may not log in are not in it. */
  readonly roles: Readonly<Record<string, string>>;
  /** Empty: every address may connect. Entries: single IP, CIDR, or `a-b` range. */
  readonly allowedIps: readonly string[];
}

export interface DirectoryChange {
  readonly seq: number;
  readonly endpointId: string;
  /** Null: deleted. */
  readonly entry: DirectoryEntry | null;
}

/**
 * Numbers the change of these endpoints' entries. The last statement of its transaction: the advisory lock is held
 * until the commit, so that the order of numbers is the order of commits, and nobody who holds it waits for a row.
 * @returns the highest number given; undefined if no such endpoint ever was
 */
export async function stampDirectory(
  tx: Transaction<Tables>,
  endpointIds: readonly string[],
): Promise<number | undefined> {
  await sql`select pg_advisory_xact_lock(hashtextextended('tenantry.directory', 0))`.execute(tx);
  const { rows } = await sql<{ seq: string }>`
    insert into directory_entries (endpoint_id, project_id, branch_id, seq, is_deleted)
    select e.id, e.project_id, e.branch_id, nextval('directory_seq'), p.deleted_at is not null or b.deleted_at is not null
    from endpoints e join branches b on b.id = e.branch_id join projects p on p.id = e.project_id
    where e.id = any(${endpointIds})
    union all
    select d.endpoint_id, d.project_id, d.branch_id, nextval('directory_seq'), true
    from directory_entries d
    where d.endpoint_id = any(${endpointIds}) and not exists (select from endpoints e where e.id = d.endpoint_id)
    on conflict (endpoint_id) do update
      set branch_id = excluded.branch_id, seq = excluded.seq, is_deleted = excluded.is_deleted
    returning seq`.execute(tx);
  return rows.length === 0 ? undefined : Math.max(...rows.map((row) => Number(row.seq)));
}

interface EntryRow {
  readonly seq: string;
  readonly endpoint_id: string;
  readonly branch_id: string;
  readonly project_id: string;
  /** Null: the endpoint is deleted. */
  readonly host_id: string | null;
  readonly disabled: boolean | null;
  readonly is_protected: boolean | null;
  readonly settings: ProjectSettings | null;
  readonly roles: Record<string, string>;
}

/** One statement, so that all of an entry is of one moment. */
const selectEntries = sql`
  select d.seq, d.endpoint_id, d.branch_id, d.project_id, p.host_id, e.disabled, b.is_protected, p.settings,
    (select coalesce(json_object_agg(r.name, r.verifier), '{}') from roles r
      where r.branch_id = d.branch_id and r.verifier is not null and not r.is_deleting) as roles
  from directory_entries d
  left join (endpoints e join branches b on b.id = e.branch_id and b.deleted_at is null
    join projects p on p.id = e.project_id and p.deleted_at is null) on e.id = d.endpoint_id`;

/** Changes above `sinceSeq` in order; of each endpoint only the last. From 0, deleted endpoints are left out. */
export async function listDirectoryChanges(
  db: Kysely<Tables>,
  sinceSeq: number,
  limit: number,
): Promise<readonly DirectoryChange[]> {
  const { rows } = await sql<EntryRow>`
    ${selectEntries}
    where d.seq > ${sinceSeq} and (${sinceSeq}::bigint > 0 or not d.is_deleted)
    order by d.seq limit ${limit}`.execute(db);
  return rows.map((row) => ({ seq: Number(row.seq), endpointId: row.endpoint_id, entry: toEntry(row) }));
}

export async function findDirectoryEntry(db: Kysely<Tables>, endpointId: string): Promise<DirectoryEntry | undefined> {
  if (!isId(endpointId)) return undefined;
  const { rows } = await sql<EntryRow>`${selectEntries} where d.endpoint_id = ${endpointId}`.execute(db);
  return (rows[0] && toEntry(rows[0])) ?? undefined;
}

/** Whose an endpoint is, or was. */
export async function findEndpointOwner(
  db: Kysely<Tables>,
  endpointId: string,
): Promise<{ readonly endpointId: string; readonly branchId: string; readonly projectId: string } | undefined> {
  return db
    .selectFrom('directory_entries')
    .select(['endpoint_id as endpointId', 'branch_id as branchId', 'project_id as projectId'])
    .where('endpoint_id', '=', endpointId)
    .executeTakeFirst();
}

/** The endpoint was deleted, and nothing is left to be done for it. */
export async function isRemoved(db: Kysely<Tables>, endpointId: string): Promise<boolean> {
  const row = await db
    .selectFrom('directory_entries as d')
    .leftJoin('endpoints as e', 'e.id', 'd.endpoint_id')
    .select('d.endpoint_id')
    .where('d.endpoint_id', '=', endpointId)
    .where('d.is_deleted', '=', true)
    .where('e.id', 'is', null)
    .where((eb) => eb.not(eb.exists(eb.selectFrom('host_removals as r').select('r.id').where('r.id', '=', endpointId))))
    .executeTakeFirst();
  return row !== undefined;
}

/** Names this metadata database; numbers of changes mean nothing in another. */
export async function getDirectoryEpoch(db: Kysely<Tables>): Promise<string> {
  const { epoch } = await db.selectFrom('directory_epoch').select('epoch').executeTakeFirstOrThrow();
  return epoch;
}

function toEntry(row: EntryRow): DirectoryEntry | null {
  if (row.host_id === null) return null;
  const { ips = [], protectedBranchesOnly = false } = row.settings?.allowedIps ?? {};
  return {
    endpointId: row.endpoint_id,
    branchId: row.branch_id,
    projectId: row.project_id,
    hostId: row.host_id,
    disabled: row.disabled ?? false,
    roles: row.roles,
    allowedIps: protectedBranchesOnly && !row.is_protected ? [] : ips,
  };
}
