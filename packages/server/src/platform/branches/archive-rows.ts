import { sql, type Kysely, type Transaction } from 'kysely';
import type { Tables } from '../../metadata/tables.ts';

/** What is read and written of branches that are archived. `archived` is what the host has last been seen to say. */

export interface ArchiveBounds {
  readonly now: Date;
  /** Branches younger than this are not archived, nor those that changed or were used within `idleMs`. */
  readonly ageMs: number;
  readonly idleMs: number;
  /** How long a branch that would not save space is left alone. */
  readonly retryMs: number;
}

export interface ArchiveCandidate {
  readonly projectId: string;
  readonly branchId: string;
}

interface CandidateFilter {
  readonly branchId?: string;
  readonly limit: number;
}

/**
 * Branches that nobody has used for long, the longest first: no roots, no default, protected or scheduled ones, none with
 * children (deleted ones too) or read replicas.
 */
export async function listArchivable(
  db: Kysely<Tables>,
  { now, ageMs, idleMs, retryMs }: ArchiveBounds,
  { branchId, limit }: CandidateFilter,
): Promise<readonly ArchiveCandidate[]> {
  const before = (ms: number): Date => new Date(now.getTime() - ms);
  const idleSince = before(idleMs);
  const { rows } = await sql<ArchiveCandidate>`
    select b.project_id as "projectId", b.id as "branchId"
    from branches b join projects p on p.id = b.project_id
    where b.state = 'ready' and b.pending_state is null and b.deleted_at is null and p.deleted_at is null
      and b.parent_id is not null and not b.is_default and not b.is_protected
      and b.created_at <= ${before(ageMs)} and b.state_changed_at <= ${idleSince}
      and (${branchId ?? null}::text is null or b.id = ${branchId ?? null})
      and not exists (select from branches c where c.parent_id = b.id)
      and not exists (select from snapshot_schedules s where s.branch_id = b.id)
      and not exists (
        select from endpoints e where e.branch_id = b.id and (
          e.type = 'read_only' or e.compute_state in ('starting', 'active', 'suspending')
          or greatest(e.created_at, e.started_at, e.suspended_at, e.last_active_at) > ${idleSince}))
      and not exists (
        select from operations o where o.branch_id = b.id and o.kind = 'archive_branch'
          and (o.ended_at is null or o.ended_at > ${before(retryMs)}))
    order by b.state_changed_at, b.id limit ${limit}`.execute(db);
  return rows;
}

/** Still to be archived? A command may have changed the branch since that was ordered. */
export async function findVolumeToArchive(db: Kysely<Tables>, branchId: string): Promise<string | undefined> {
  const { rows } = await sql<{ volumeId: string }>`
    select volume_id as "volumeId" from branches b
    where id = ${branchId} and pending_state = 'archived' and deleted_at is null
      and parent_id is not null and not is_default and not is_protected
      and not exists (select from branches c where c.parent_id = b.id)
      and not exists (select from endpoints e where e.branch_id = b.id and e.type = 'read_only')`.execute(db);
  return rows[0]?.volumeId;
}

/** A state that is not what it was changes `state_changed_at` too. */
export async function setArchived(db: Kysely<Tables>, branchId: string, isArchived: boolean): Promise<void> {
  const [from, to] = isArchived ? (['ready', 'archived'] as const) : (['archived', 'ready'] as const);
  await sql`
    update branches set state = ${to}, pending_state = null, state_changed_at = now(),
      archived_at = ${isArchived ? sql`now()` : sql`null`}
    where id = ${branchId} and state = ${from}`.execute(db);
  await sql`
    update branches set pending_state = null
    where id = ${branchId} and state = ${to} and pending_state in ('ready', 'archived')`.execute(db);
}

export async function setPendingArchived(
  tx: Transaction<Tables>,
  branchId: string,
  pendingState: 'archived' | 'ready',
): Promise<void> {
  await tx.updateTable('branches').set({ pending_state: pendingState }).where('id', '=', branchId).execute();
}

/** With the volumes that the host should have as archives. */
export async function listArchivedBranches(
  db: Kysely<Tables>,
): Promise<readonly { readonly branchId: string; readonly volumeId: string }[]> {
  const { rows } = await sql<{ branchId: string; volumeId: string }>`
    select id as "branchId", volume_id as "volumeId" from branches
    where state = 'archived' and pending_state is null`.execute(db);
  return rows;
}
