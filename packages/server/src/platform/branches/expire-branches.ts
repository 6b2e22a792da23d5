import { sql } from 'kysely';
import { PlatformError } from '../../kernel/errors.ts';
import { sleep } from '../../kernel/wait.ts';
import { runCommand } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { listProjectsWithRemovals } from '../hosts/host-removal-rows.ts';
import { enqueueVolumeRemoval } from '../hosts/remove-from-host.ts';
import { changeBranch } from './change-branch.ts';
import { purge, softDelete } from './delete-branch.ts';

const INTERVAL_MS = 10_000;
const BATCH = 100;

interface Due {
  readonly projectId: string;
  readonly branchId: string;
}

/** Deletes branches when their time has come, until the signal aborts. */
export async function expireBranches(context: PlatformContext, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await expireDueBranches(context);
    } catch (error) {
      if (!signal.aborted) context.log.warn({ err: error }, 'expired branches not deleted, will retry');
    }
    await sleep(INTERVAL_MS, signal).catch(() => undefined);
  }
}

/**
 * One round: deletes branches that have expired, for good those whose recovery has, and orders removals from the host
 * again whose operations have failed.
 */
export async function expireDueBranches(context: PlatformContext): Promise<void> {
  const now = context.now();
  for (const due of await listExpired(context, now)) {
    await unlessGone(
      changeBranch(context, due, async (command, branch) => {
        if (branch.expiresAt && branch.expiresAt <= now) await softDelete(context, command, branch);
      }),
    );
  }
  for (const due of await listToPurge(context, now)) {
    await unlessGone(
      changeBranch(context, { ...due, includeDeleted: true }, async (command, branch) => {
        if (branch.recoverableUntil && branch.recoverableUntil <= now) await purge(command, branch);
      }),
    );
  }
  for (const projectId of await listProjectsWithRemovals(context.metadata)) {
    await runCommand(context, (command) => enqueueVolumeRemoval(command, projectId));
  }
}

/** A project may be deleted between the look and the work. */
async function unlessGone(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof PlatformError && error.code === 'NOT_FOUND')) throw error;
  }
}

async function listExpired({ metadata }: PlatformContext, now: Date): Promise<readonly Due[]> {
  const { rows } = await sql<Due>`
    select project_id as "projectId", id as "branchId" from branches
    where expires_at <= ${now} and deleted_at is null and state in ('ready', 'archived')
    order by expires_at limit ${BATCH}`.execute(metadata);
  return rows;
}

/** Children first: a parent waits until they are gone. */
async function listToPurge({ metadata }: PlatformContext, now: Date): Promise<readonly Due[]> {
  const { rows } = await sql<Due>`
    select b.project_id as "projectId", b.id as "branchId" from branches b
    where b.purge_at <= ${now} and not exists (select from branches c where c.parent_id = b.id)
    order by b.purge_at limit ${BATCH}`.execute(metadata);
  return rows;
}
