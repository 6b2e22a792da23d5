import type { PlatformError } from '../../kernel/errors.ts';
import type { Lsn } from '../../wal/lsn.ts';
import { findVolume, getVolume } from '../find-volume.ts';
import type { RestorePoints } from '../restore-points.ts';
import type { StoreParts } from '../store-parts.ts';
import type { BackupSession, MomentRequest, Volume } from '../volume-store.ts';
import { ensureLineage } from './begin-lineage.ts';
import { chooseBase, needsReplay } from './choose-base.ts';
import { findHead, type Head } from './find-head.ts';
import type { Lineage } from './lineage.ts';
import { isWhole, openLineageWal } from './lineage-wal.ts';
import { outOfHistory } from './out-of-history.ts';
import { assertKept, isBeforeBegin, type ResolvedMoment, resolveMoment } from './resolve-moment.ts';
import { afterNow, timeUsOf } from './time-us.ts';

const MIB = 1024n * 1024n;

/** A head that needs no more replay than this is reached from a point that is there; else a new one is made for it. */
const COW_REPLAY_MAX = 64n * MIB;
/** The same where a point is a copy of all files. */
const COPY_REPLAY_MAX = 256n * MIB;

export interface PlanRequest {
  readonly volumeId: string;
  readonly at: MomentRequest;
}

/** The volume in whose lineage a moment is: the one that was asked for, or one that it came from. */
interface LineageOfMoment {
  readonly volume: Volume;
  readonly lineage: Lineage;
}

/**
 * Calls `work` with the lineage that holds a moment, in its turn.
 * @throws PlatformError NOT_FOUND, MOMENT_OUT_OF_HISTORY
 */
export async function inLineageOf<T>(
  parts: StoreParts,
  { volumeId, at }: PlanRequest,
  work: (found: LineageOfMoment) => Promise<T>,
): Promise<T> {
  const now = new Date();
  let nextId = volumeId;
  for (;;) {
    const outcome = await parts.lineageTurns.take(nextId, async () => {
      const volume =
        nextId === volumeId ? await getVolume(parts.layout, volumeId) : await findVolume(parts.layout, nextId);
      if (!volume) throw beforeBegin(at);
      const lineage = await ensureLineage(parts, volume);
      if (at.kind === 'head' || !isBeforeBegin(lineage, at)) return { done: await work({ volume, lineage }) };
      assertKept(lineage, at, now);
      if (lineage.originId === null) throw beforeBegin(at);
      return { originId: lineage.originId };
    });
    if ('done' in outcome) return outcome.done;
    nextId = outcome.originId;
  }
}

function beforeBegin(at: MomentRequest): PlatformError {
  const name = at.kind === 'lsn' ? 'LSN' : 'timestamp';
  return outOfHistory(at, `${name} is before retention window: the history of the branch begins later`);
}

/** Where a moment is and which point leads there, without making anything. The caller has the lineage's turn. */
export async function findPlan(parts: StoreParts, found: LineageOfMoment, at: MomentRequest): Promise<PlannedMoment> {
  const now = new Date();
  const head = await findHeadOf(parts, found);
  if (at.kind !== 'head') return resolveMoment({ lineage: found.lineage, head, at, now });
  return { lsn: head.lsn, timeUs: timeUsOf(now) };
}

type PlannedMoment = Pick<ResolvedMoment, 'lsn' | 'timeUs'>;

interface PlanOptions extends LineageOfMoment {
  readonly at: MomentRequest;
  readonly backup: BackupSession | undefined;
}

/** The same; makes a point where the head of a volume would otherwise need too much replay. */
export async function makePlan(
  parts: StoreParts,
  points: RestorePoints,
  { volume, lineage, at, backup }: PlanOptions,
): Promise<ResolvedMoment> {
  const now = new Date();
  const head = await findHeadOf(parts, { volume, lineage });
  if (at.kind !== 'head') return resolveMoment({ lineage, head, at, now });
  const base = chooseBase({ points: lineage.points, lsn: head.lsn, timelines: head.wal.timelines });
  const near = base && isWhole(head.wal, base.redoLsn, head.lsn) ? base : undefined;
  const reached = near && { lsn: head.lsn, timeUs: timeUsOf(afterNow()), wal: head.wal, base: near };
  const isNear = near && (volume.needsPromotion || isNearEnough(parts, head, near));
  if (reached && isNear) return reached;
  const made = volume.needsPromotion ? undefined : await points.make({ volume, lineage, backup });
  if (made) {
    const { timeline, consistentLsn } = made.point;
    const wal = await openLineageWal(head.wal.historyPath, timeline);
    return { lsn: consistentLsn, timeUs: timeUsOf(made.endedAt), wal, base: made.point };
  }
  if (!reached) throw outOfHistory(at, 'the volume is in use and has no restore point yet');
  return reached;
}

function isNearEnough(
  { backend }: StoreParts,
  head: Head,
  base: { redoLsn: Lsn } & Parameters<typeof needsReplay>[0],
): boolean {
  if (!needsReplay(base, head.lsn)) return true;
  const { cowClone } = backend.info.capabilities;
  // A cleanly stopped volume is a moment by itself, and a clone of it needs no replay.
  if (head.isClean && cowClone) return false;
  const replay = head.lsn - base.redoLsn;
  const max = cowClone ? COW_REPLAY_MAX : COPY_REPLAY_MAX;
  // A new point of a volume in use takes replay too, since its last checkpoint.
  return replay <= max || replay - (head.lsn - head.redoLsn) <= max / 2n;
}

export async function findHeadOf({ layout, still }: StoreParts, { volume, lineage }: LineageOfMoment): Promise<Head> {
  const { volumeId } = volume;
  const historyPath = layout.historyDir(volumeId);
  return findHead({ volume, lineage, historyPath, isClaimed: still.isClaimed(volumeId) });
}
