import { chownSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { syncDirectory } from '../kernel/atomic-file.ts';
import type { Volume } from '../storage/volume-store.ts';
import { readControlFile } from '../wal/control-file.ts';

/** What the first start of a volume has to do that an ordinary start has not. */
export interface FirstStart {
  /** WAL is to be replayed, then Postgres is to be promoted. */
  readonly promotes: boolean;
  /** There may be subscriptions, whose workers would begin at once and take their parent's slot. */
  readonly hasSubscriptions: boolean;
}

/** Ours, in the data directory: there from before the first start until all is done that belongs to it. */
const MARK = 'tenantry.first-start';
const STANDBY_SIGNAL = 'standby.signal';
/** Postgres writes it at every start and leaves it; a clone has none. */
const STARTED = 'postmaster.opts';

/**
 * Undefined for a read replica, whose data is all its primary's, and for an ordinary start, at the price of two looks for a file. Repeatable: after a crash it finds out how far
 * the last one got. Postgres removes `standby.signal` shortly before it has finished; a crash between the two would be
 * followed by a crash recovery on the old timeline, with leftovers of the new one beside it, so the signal is put back.
 */
export async function prepareFirstStart(volume: Volume): Promise<FirstStart | undefined> {
  const { dataPath, needsPromotion, replicaOf } = volume;
  if (replicaOf !== null) return undefined;
  const isBegun = existsSync(join(dataPath, MARK));
  if (!needsPromotion && !isBegun && existsSync(join(dataPath, STARTED))) return undefined;
  // Without fsync: Postgres makes the removal of the signal durable, and with it what came before in that directory.
  if (!isBegun) putFile(volume, MARK);
  const isSignalled = existsSync(join(dataPath, STANDBY_SIGNAL));
  const isHalfPromoted = !isSignalled && (await readControlFile(dataPath)).control.state === 'in archive recovery';
  if (isHalfPromoted) putFile(volume, STANDBY_SIGNAL);
  return { promotes: isSignalled || isHalfPromoted, hasSubscriptions: hasSubscriptionPages(dataPath) };
}

/** True from `prepareFirstStart` until `finishFirstStart`. */
export const isFirstStart = ({ dataPath, replicaOf }: Volume): boolean =>
  replicaOf === null && existsSync(join(dataPath, MARK));

export function finishFirstStart({ dataPath }: Volume): void {
  rmSync(join(dataPath, MARK), { force: true });
  // With the mark back after a power failure, a subscription that a client makes from now on would be dropped as one of
  // the parent's. Nobody waits for it: that would slow every first start down for a moment's risk.
  void syncDirectory(dataPath).catch(() => undefined);
}

/**
 * The file that tells the postmaster, at its next SIGUSR1, to end recovery once all local WAL is replayed. Postgres
 * removes it, also one that an earlier life has left.
 */
export function putPromoteFile(volume: Pick<Volume, 'dataPath' | 'owner'>): void {
  putFile(volume, 'promote');
}

function putFile({ dataPath, owner }: Pick<Volume, 'dataPath' | 'owner'>, name: string): void {
  const path = join(dataPath, name);
  writeFileSync(path, '', { mode: 0o600 });
  if (owner) chownSync(path, owner.uid, owner.gid);
}

/** Oid of pg_subscription, and the layout of pg_filenode.map (utils/cache/relmapper.c): magic, count, pairs of oids. */
const PG_SUBSCRIPTION = 6100;
const MAP_HEADER_LENGTH = 8;

/**
 * Whether the shared catalog of subscriptions has pages: it has none where there never was one. Of a clone this is
 * read before replay, so one that the WAL to be replayed makes is not seen.
 */
function hasSubscriptionPages(dataPath: string): boolean {
  try {
    const map = readFileSync(join(dataPath, 'global/pg_filenode.map'));
    for (let i = 0; i < map.readInt32LE(4); i++) {
      const at = MAP_HEADER_LENGTH + 8 * i;
      if (map.readUInt32LE(at) !== PG_SUBSCRIPTION) continue;
      return statSync(join(dataPath, 'global', String(map.readUInt32LE(at + 4)))).size > 0;
    }
    return true;
  } catch {
    return true; // The careful start is right for any volume, only slower.
  }
}
