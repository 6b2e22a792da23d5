import { sleep } from '../../kernel/wait.ts';
import { findBranchRow } from '../branches/branch-rows.ts';
import { runCommand } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { lockProject } from '../projects/project-rows.ts';
import { freeSnapshotName, toSeconds } from './create-snapshot.ts';
import { discardSnapshot } from './delete-snapshot.ts';
import { claimDueItem, listDueItems, type DueItem } from './schedule-rows.ts';
import { listExpiredSnapshots } from './snapshot-rows.ts';
import { orderSnapshot } from './take-snapshot.ts';

const TICK_MS = 15_000;
const BATCH = 100;

/** Takes snapshots as the schedules say, and deletes those whose time has come, until the signal aborts. */
export async function runSchedules(context: PlatformContext, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await tickSchedules(context, signal);
    } catch (error) {
      context.log.warn({ err: error }, 'schedules of snapshots interrupted, will retry');
    }
    await sleep(TICK_MS, signal).catch(() => undefined);
  }
}

/** One look. Any number of processes may look at the same time. */
export async function tickSchedules(context: PlatformContext, signal: AbortSignal): Promise<void> {
  const now = context.now();
  for (const due of await listDueItems(context.metadata, now, BATCH)) {
    if (signal.aborted) return;
    await orContinue(context, { branchId: due.branchId }, () => takeDue(context, due, now));
  }
  for (const expired of await listExpiredSnapshots(context.metadata, now, BATCH)) {
    if (signal.aborted) return;
    const deletion = () => runCommand(context, (command) => discardSnapshot(command, expired), 0);
    await orContinue(context, { snapshotId: expired.id }, deletion);
  }
}

async function takeDue(context: PlatformContext, due: DueItem, now: Date): Promise<void> {
  const { projectId } = due;
  await runCommand(
    context,
    async (command) => {
      const { tx } = command;
      if (!(await lockProject(tx, projectId))) return;
      const branch = await findBranchRow(tx, projectId, due.branchId);
      // It is taken once the branch stands still again.
      if (branch?.state !== 'ready') return;
      const item = await claimDueItem(tx, due, now);
      if (!item) return;
      const { frequency, retentionSeconds } = item;
      await orderSnapshot(command, {
        projectId,
        branchId: branch.id,
        name: await freeSnapshotName(tx, projectId, `${branch.name}-${frequency}-${toSeconds(now)}`),
        at: { kind: 'head' },
        isManual: false,
        expiresAt: retentionSeconds === undefined ? null : new Date(now.getTime() + retentionSeconds * 1000),
      });
    },
    0,
  );
}

/** One that fails must not hold up the others. */
async function orContinue({ log }: PlatformContext, subject: object, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    log.warn({ err: error, ...subject }, 'scheduled work on a snapshot failed, will retry');
  }
}
