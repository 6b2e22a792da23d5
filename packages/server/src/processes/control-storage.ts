import type { Kysely } from 'kysely';
import type { Host, VolumeHistory, VolumeUsage } from '../host/host.ts';
import { PlatformError } from '../kernel/errors.ts';
import type { Tables } from '../metadata/tables.ts';
import { countVolumes, listVolumeOwners, type VolumeOwner } from '../platform/status/read-storage.ts';

interface StorageSources {
  readonly metadata: Kysely<Tables>;
  readonly host: Pick<Host, 'info' | 'storageSpace' | 'volumeUsage' | 'volumeHistory'>;
}

/** Measuring walks all files of a volume: the largest are what an operator looks for. */
const VOLUMES_LISTED_MAX = 100;
const PARALLEL = 4;

/** What `GET /status/storage` answers, for `tenantry storage`. */
export async function readStorageReport(
  { metadata, host }: StorageSources,
  projectId: string | undefined,
): Promise<object> {
  const [info, space, volumesCount, owners] = await Promise.all([
    host.info(),
    host.storageSpace(),
    countVolumes(metadata, projectId),
    listVolumeOwners(metadata, { projectId, limit: VOLUMES_LISTED_MAX }),
  ]);
  const rest = owners.map((owner, index) => ({ owner, index }));
  const volumes: object[] = [];
  const measureNext = async (): Promise<void> => {
    for (let next = rest.shift(); next; next = rest.shift()) {
      volumes[next.index] = toVolume(next.owner, await measure(host, next.owner));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, measureNext));
  return { storage: info.storage, space, volumes_count: volumesCount, volumes };
}

interface Measured {
  readonly usage: VolumeUsage;
  /** Null of a read replica: its branch has it. */
  readonly history: VolumeHistory | null;
}

/** Null of a volume that is not there: being made, being deleted, or archived. */
async function measure(host: StorageSources['host'], { volumeId, kind }: VolumeOwner): Promise<Measured | null> {
  try {
    const readsHistory = kind === 'replica' ? null : host.volumeHistory(volumeId);
    const [usage, history] = await Promise.all([host.volumeUsage(volumeId), readsHistory]);
    return { usage, history };
  } catch (error) {
    if (error instanceof PlatformError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

const toVolume = (owner: VolumeOwner, measured: Measured | null): object => ({
  kind: owner.kind,
  id: owner.id,
  name: owner.name,
  parent_id: owner.parentId,
  project_id: owner.projectId,
  project_name: owner.projectName,
  logical_bytes: measured?.usage.logicalBytes ?? null,
  exclusive_bytes: measured?.usage.exclusiveBytes ?? null,
  shared_bytes: measured?.usage.sharedBytes ?? null,
  history_bytes: measured?.history?.bytes ?? null,
});
