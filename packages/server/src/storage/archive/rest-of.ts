import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readControlFile, withRecoveryState } from '../../wal/control-file.ts';
import { findTime } from '../../wal/find-moment.ts';
import type { Lsn } from '../../wal/lsn.ts';
import { dataPathOf } from '../backends/backend.ts';
import { ensureLineage } from '../history/begin-lineage.ts';
import type { Lineage } from '../history/lineage.ts';
import { findHeadOf } from '../history/plan-moment.ts';
import { horizonOf } from '../history/prune.ts';
import { hasSlots } from '../history/prune-history.ts';
import { timeUsOf } from '../history/time-us.ts';
import type { StoreParts } from '../store-parts.ts';
import type { Volume } from '../volume-store.ts';

/** A volume of which nothing but its head is worth keeping. */
export interface Rest {
  /** Its lineage once it is archived. */
  readonly lineage: Lineage;
  /** It starts from there. */
  readonly walFrom: Lsn;
}

/**
 * Whether a volume that nobody uses is its head and nothing else: stopped cleanly, and not written since its retention
 * began; or a clone that was never started.
 */
export async function restOf(parts: StoreParts, volume: Volume): Promise<Rest | { readonly why: string }> {
  const { lineageTurns } = parts;
  return lineageTurns.take(volume.volumeId, async () => {
    const lineage = await ensureLineage(parts, volume);
    if (volume.needsPromotion) {
      if (!(await isUntouched(parts, volume, lineage))) return { why: 'its first start was cut short' };
      // Its base stays, since it is all that a branch of it can start from, and its origin knows what was before.
      return { lineage, walFrom: 0n };
    }
    const { control } = await readControlFile(volume.dataPath);
    if (control.state !== 'shut down') return { why: 'it was not stopped cleanly' };
    if (await hasSlots(volume.dataPath)) return { why: 'it has replication slots' };
    const horizonUs = timeUsOf(horizonOf(lineage, new Date()));
    const head = await findHeadOf(parts, { volume, lineage });
    const { begin, originId, points } = lineage;
    const found = await findTime(head.wal, points[0]?.redoLsn ?? begin.lsn, horizonUs);
    // WAL that is missing on the way tells nothing of what comes after it.
    const isWritten = found.kind === 'cut' || found.lsn < head.lsn;
    if (isWritten || (originId !== null && begin.timeUs > horizonUs)) {
      return { why: 'its history is not older than its retention' };
    }
    const timeUs = Math.max(horizonUs, begin.timeUs);
    return {
      lineage: {
        ...lineage,
        begin: { lsn: head.lsn, timeline: head.wal.timeline, timeUs },
        originId: null,
        points: [],
      },
      walFrom: control.redo,
    };
  });
}

/** Is a clone as it was made? Its control file is the first thing that Postgres changes. */
async function isUntouched({ layout }: StoreParts, { dataPath }: Volume, { points }: Lineage): Promise<boolean> {
  const [base, ...others] = points;
  if (base === undefined || others.length > 0) return false;
  const ofBase = await readFile(join(dataPathOf(layout.pointTree(base)), 'global/pg_control'));
  const present = await readFile(join(dataPath, 'global/pg_control'));
  const { kind, consistentLsn, timeline } = base;
  if (kind === 'backup') return present.equals(ofBase) && existsSync(join(dataPath, 'backup_label'));
  return present.equals(withRecoveryState(ofBase, { minRecoveryPoint: consistentLsn, timeline }));
}
