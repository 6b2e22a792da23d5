import { lchown, link, mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { must } from '../kernel/assert.ts';
import { syncDirectory } from '../kernel/atomic-file.ts';
import { codeOf } from '../kernel/errors.ts';
import { withRecoveryState } from '../wal/control-file.ts';
import { cutSegment } from '../wal/cut-segment.ts';
import { findLastStart } from '../wal/find-end.ts';
import { formatLsn } from '../wal/lsn.ts';
import { historyFileName, segmentStart } from '../wal/segment-name.ts';
import { archiveWal } from './history/archive-wal.ts';
import { needsReplay } from './history/choose-base.ts';
import { segmentsBetween } from './history/lineage-wal.ts';
import { inLineageOf, makePlan } from './history/plan-moment.ts';
import type { ResolvedMoment } from './history/resolve-moment.ts';
import { makeVolume } from './make-volume.ts';
import type { RestorePoints } from './restore-points.ts';
import type { StoreParts } from './store-parts.ts';
import { readVolumeRecord, type ReplicaRecord, type VolumeRecord } from './volume-record.ts';
import type { BranchVolumeOptions, FileOwner, Moment } from './volume-store.ts';

/**
 * Makes a volume that is another as it was at a moment. Two steps: in the turn of the lineage that holds the moment, the
 * child gets a lineage of its own, with links to the WAL that it will replay and a reference to its base; then, with
 * nothing held, its data is cloned from there. The caller has the turn of the child's id, and removes what a failure
 * leaves. A replica's lineage holds on to its base while that is cloned, and ends with it.
 */
export async function branchVolume(
  parts: StoreParts,
  points: RestorePoints,
  options: BranchVolumeOptions,
  replica?: Omit<ReplicaRecord, 'redoLsn'>,
): Promise<Moment> {
  const { sourceId, at, backup, owner } = options;
  const { moment, source } = await inLineageOf(parts, { volumeId: sourceId, at }, async ({ volume, lineage }) => {
    const resolved = await makePlan(parts, points, { volume, lineage, at, backup });
    await layHistory(parts, options, { moment: resolved, originId: volume.volumeId, isReplica: replica !== undefined });
    return { moment: resolved, source: await recordOf(parts, volume.volumeId) };
  });
  const { volumeId } = options;
  const redoLsn = formatLsn(moment.base.redoLsn);
  await makeVolume(parts, {
    record: {
      ...source,
      volumeId,
      owner,
      createdAt: new Date().toISOString(),
      ...(replica ? { replica: { ...replica, redoLsn } } : {}),
    },
    sourceTree: parts.layout.pointTree(moment.base),
    finish: async (dataPath) => {
      if (replica || needsReplay(moment.base, moment.lsn)) await readyForReplay(dataPath, owner, moment);
      if (replica) await parts.lineages.remove(volumeId);
    },
  });
  if (replica) await points.removeUnreferenced([moment.base]);
  return { lsn: moment.lsn, timeUs: moment.timeUs };
}

async function recordOf({ layout }: StoreParts, volumeId: string): Promise<VolumeRecord> {
  return must(await readVolumeRecord(layout.volumeDir(volumeId)), 'the source of a branch has no record');
}

interface NewHistory {
  readonly moment: ResolvedMoment;
  readonly originId: string;
  readonly isReplica: boolean;
}

/** The lineage record comes last: before it, nothing refers to anything, and nothing is lost if it never comes. */
async function layHistory(
  { layout, lineages }: StoreParts,
  { volumeId, owner, historyRetentionSeconds }: BranchVolumeOptions,
  { moment, originId, isReplica }: NewHistory,
): Promise<void> {
  const walPath = layout.walDir(volumeId);
  const historyPath = layout.historyDir(volumeId);
  await lineages.remove(volumeId);
  await layWal(walPath, owner, moment, { isReplica });
  await mkdir(historyPath, { mode: 0o700 });
  await archiveWal({ walPath, historyPath, from: 0n });
  const { lsn, timeUs, wal, base } = moment;
  await lineages.put({
    volumeId,
    retentionSeconds: historyRetentionSeconds,
    begin: { lsn, timeline: wal.timeline, timeUs },
    originId,
    points: [base],
  });
}

/** Links to the WAL that leads from the base to the moment; of the segment that the moment is in, a copy cut there. */
async function layWal(
  walPath: string,
  owner: FileOwner | null,
  { lsn, wal, base }: ResolvedMoment,
  { isReplica }: { readonly isReplica: boolean },
): Promise<void> {
  await rm(walPath, { recursive: true, force: true });
  await mkdir(walPath, { mode: 0o700 });
  for (const { timeline } of wal.timelines) {
    if (timeline > 1) await linkIfThere(wal.historyPath, walPath, historyFileName(timeline));
  }
  const names = segmentsBetween(wal, base.redoLsn, lsn);
  // Postgres goes on writing where it finds the end: never into a file that another volume has too.
  const isCut = segmentStart(lsn) !== lsn;
  // A replica gets the rest of its primary's segment later; a clone that is the moment goes on where it stands.
  const isClosed = !isReplica && needsReplay(base, lsn);
  for (const [index, name] of names.entries()) {
    const from = join(wal.historyPath, name);
    const to = join(walPath, name);
    if (index < names.length - 1 || !isCut) {
      await link(from, to);
      continue;
    }
    const lastStart = isClosed ? await findLastStart(wal, lsn) : undefined;
    await cutSegment(from, to, { from: base.redoLsn, end: lsn, lastStart });
    if (owner) await lchown(to, owner.uid, owner.gid);
  }
  if (owner) await lchown(walPath, owner.uid, owner.gid);
  await syncDirectory(walPath);
}

async function linkIfThere(from: string, to: string, name: string): Promise<void> {
  try {
    await link(join(from, name), join(to, name));
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

/** Has the first start replay the WAL that is there, and wait for `promote`. Facts: decision 7. */
async function readyForReplay(dataPath: string, owner: FileOwner | null, { base }: ResolvedMoment): Promise<void> {
  if (base.kind !== 'backup') {
    const path = join(dataPath, 'global/pg_control');
    const { consistentLsn, timeline } = base;
    await using file = await open(path, 'r+');
    await file.write(
      withRecoveryState(await readFile(path), { minRecoveryPoint: consistentLsn, timeline }),
      0,
      null,
      0,
    );
    // A filesystem that makes directories safe says nothing of what is in a file.
    await file.datasync();
  }
  const signal = join(dataPath, 'standby.signal');
  await writeFile(signal, '', { mode: 0o600 });
  if (owner) await lchown(signal, owner.uid, owner.gid);
}
