import { sleep } from '../../kernel/wait.ts';
import { runCommand } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { lockProject } from '../projects/project-rows.ts';
import { archiveBranchOperation } from './archive-operation.ts';
import {
  listArchivable,
  listArchivedBranches,
  setArchived,
  setPendingArchived,
  type ArchiveBounds,
  type ArchiveCandidate,
} from './archive-rows.ts';

const DAY_MS = 24 * 60 * 60_000;
const INTERVAL_MS = { min: 1_000, max: 60_000 };
const BATCH = 100;
/** How often it is looked whether to stop while a branch is being archived. */
const LOOK_MS = 1_000;

/** Has branches kept compressed that nobody uses, until the signal aborts. @param afterDays 0: none */
export async function archiveBranches(context: PlatformContext, afterDays: number, signal: AbortSignal): Promise<void> {
  const intervalMs = Math.min(INTERVAL_MS.max, Math.max(INTERVAL_MS.min, (afterDays || 1) * DAY_MS * 0.1));
  while (!signal.aborted) {
    try {
      await followArchives(context);
      if (afterDays > 0) await archiveIdleBranches(context, afterDays, signal);
    } catch (error) {
      if (!signal.aborted) context.log.warn({ err: error }, 'branches not archived, will retry');
    }
    await sleep(intervalMs, signal).catch(() => undefined);
  }
}

/** One round, one branch after another. */
export async function archiveIdleBranches(
  context: PlatformContext,
  afterDays: number,
  signal: AbortSignal,
): Promise<void> {
  const ageMs = afterDays * DAY_MS;
  const bounds = { now: context.now(), ageMs, idleMs: Math.min(DAY_MS, ageMs), retryMs: 2 * ageMs };
  for (const candidate of await listArchivable(context.metadata, bounds, { limit: BATCH })) {
    if (signal.aborted) return;
    await untilEnded(context, await orderArchive(context, candidate, bounds), signal);
  }
}

async function orderArchive(
  context: PlatformContext,
  candidate: ArchiveCandidate,
  bounds: ArchiveBounds,
): Promise<readonly string[]> {
  const { projectId, branchId } = candidate;
  const { operations } = await runCommand(
    context,
    async (command) => {
      const { tx } = command;
      if (!(await lockProject(tx, projectId))) return;
      const [present] = await listArchivable(tx, bounds, { branchId, limit: 1 });
      if (!present) return;
      await setPendingArchived(tx, branchId, 'archived');
      await command.enqueue(archiveBranchOperation, { branchId }, { projectId, branchId });
    },
    0,
  );
  return operations.map(({ id }) => id);
}

/** The next branch waits for the one before: archiving takes a core of the host, and nobody waits for it. */
async function untilEnded({ engine }: PlatformContext, ids: readonly string[], signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const outcomes = await engine.waitFor(ids, LOOK_MS);
    if (outcomes.every(({ status }) => status !== 'scheduling' && status !== 'running')) return;
  }
}

/** What the host has brought back by itself, for a compute or a clone, is ready again. */
export async function followArchives({ host, metadata }: PlatformContext): Promise<void> {
  const branches = await listArchivedBranches(metadata);
  if (branches.length === 0) return;
  const archived = new Set(await host.archivedVolumes());
  for (const { branchId, volumeId } of branches) {
    if (!archived.has(volumeId)) await setArchived(metadata, branchId, false);
  }
}
