import { setTimeout as delay } from 'node:timers/promises';
import { findEndOfWal, findEndOfWalAfterCrash } from '../../wal/find-end.ts';
import { type ControlFile, readControlFile } from '../../wal/control-file.ts';
import type { Lsn } from '../../wal/lsn.ts';
import type { Volume } from '../volume-store.ts';
import { archiveWal } from './archive-wal.ts';
import { type Lineage, neededFrom } from './lineage.ts';
import { type LineageWal, openLineageWal, timelineOf } from './lineage-wal.ts';

/** The end of what a volume holds. */
export interface Head {
  readonly lsn: Lsn;
  readonly wal: LineageWal;
  /** Where the replay of a clone that is made now would begin. */
  readonly redoLsn: Lsn;
  /** Cleanly stopped: the end of its shutdown checkpoint. */
  readonly isClean: boolean;
}

export interface HeadQuery {
  readonly volume: Volume;
  readonly historyPath: string;
  readonly lineage: Lineage;
  /** Postgres has it. */
  readonly isClaimed: boolean;
}

/** Brings the history of a volume up to date and finds its end. */
export async function findHead({ volume, historyPath, lineage, isClaimed }: HeadQuery): Promise<Head> {
  if (volume.needsPromotion) {
    const { lsn, timeline } = lineage.begin;
    return { lsn, wal: await openLineageWal(historyPath, timeline), redoLsn: lsn, isClean: false };
  }
  // In this order: the history then holds all that the control file speaks of.
  const { control } = await readLiveControlFile(volume.dataPath);
  await archiveWal({ walPath: volume.walPath, historyPath, from: neededFrom(lineage) });
  const wal = await openLineageWal(historyPath, timelineOf(control));
  const lsn = await findEnd(wal, control, isClaimed);
  return { lsn, wal, redoLsn: control.redo, isClean: !isClaimed && control.state === 'shut down' };
}

/** Where WAL ends, from what `pg_control` says. @param isClaimed Postgres has the volume now */
export async function findEnd(wal: LineageWal, control: ControlFile, isClaimed: boolean): Promise<Lsn> {
  // Of one that was not stopped cleanly we cannot know whether it was the machine that went down.
  const isCrashed = control.state !== 'shut down' && !(isClaimed && control.state === 'in production');
  return isCrashed ? findEndOfWalAfterCrash(wal, control.redo) : findEndOfWal(wal, control.redo);
}

const TRIES = 20;

/** Postgres may be writing it: a read of half the old and half the new fails its checksum. */
export async function readLiveControlFile(dataPath: string): Promise<{ control: ControlFile; bytes: Buffer }> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await readControlFile(dataPath);
    } catch (error) {
      if (tries === TRIES) throw error;
      await delay(5);
    }
  }
}
