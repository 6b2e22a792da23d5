import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from '../kernel/assert.ts';
import { PlatformError } from '../kernel/errors.ts';
import type { Layout } from './layout.ts';
import { readVolumeRecord } from './volume-record.ts';
import type { Volume } from './volume-store.ts';

/** Ids become file names. */
const VOLUME_ID = /^[a-z0-9][a-z0-9-]{0,62}$/;

export function assertVolumeId(volumeId: string): void {
  assert(VOLUME_ID.test(volumeId), 'volume id is not a plain name');
}

/** @throws Error if its record cannot be understood */
export async function findVolume(layout: Layout, volumeId: string): Promise<Volume | undefined> {
  assertVolumeId(volumeId);
  const record = await readVolumeRecord(layout.volumeDir(volumeId));
  if (!record) return undefined;
  const { pgVersion, owner } = record;
  const replicaOf = record.replica?.primaryId ?? null;
  const dataPath = layout.dataPath(volumeId);
  const needsPromotion = replicaOf === null && existsSync(join(dataPath, 'standby.signal'));
  return { volumeId, pgVersion, owner, dataPath, walPath: layout.walDir(volumeId), needsPromotion, replicaOf };
}

/** @throws PlatformError NOT_FOUND */
export async function getVolume(layout: Layout, volumeId: string): Promise<Volume> {
  const volume = await findVolume(layout, volumeId);
  if (!volume) throw new PlatformError('NOT_FOUND', `Cannot find volume ${volumeId}: it does not exist`);
  return volume;
}
