import { randomBytes } from 'node:crypto';
import { lchown, rename, symlink } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { syncDirectory } from '../kernel/atomic-file.ts';
import { dataPathOf } from './backends/backend.ts';
import type { StoreParts } from './store-parts.ts';
import { type VolumeRecord, writeVolumeRecord } from './volume-record.ts';

export interface VolumePlan {
  readonly record: VolumeRecord;
  /** Its data is a clone of this tree. */
  readonly sourceTree: string;
  /** Makes the clone's data what it shall be, and all that must be there before the volume is. */
  finish(dataPath: string): Promise<void>;
}

/** Everything in a staging tree first; the rename is the commit, and the sync after it makes it last. */
export async function makeVolume({ backend, layout }: StoreParts, plan: VolumePlan): Promise<void> {
  const { record, sourceTree } = plan;
  const { volumeId, owner } = record;
  const staging = join(layout.treeDir('staging'), `${volumeId}.${randomBytes(4).toString('hex')}`);
  try {
    await backend.cloneTree(sourceTree, staging, owner);
    const data = dataPathOf(staging);
    await plan.finish(data);
    // A relative link, so that the host directory can be moved.
    const link = join(data, 'pg_wal');
    await symlink(relative(layout.dataPath(volumeId), layout.walDir(volumeId)), link);
    if (owner) await lchown(link, owner.uid, owner.gid);
    await writeVolumeRecord(staging, record);
    await backend.settleTree(staging);
    await syncDirectory(layout.logDir('wal'));
    await rename(staging, layout.volumeDir(volumeId));
  } catch (error) {
    await backend.removeTree(staging);
    throw error;
  }
  await syncDirectory(layout.treeDir('volumes'));
}
