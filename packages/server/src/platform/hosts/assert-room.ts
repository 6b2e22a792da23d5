import { PlatformError } from '../../kernel/errors.ts';
import type { PlatformDeps } from '../context.ts';

/**
 * Refuses what makes a volume while the host's disk is full. Before any row is written: the metadata database may live
 * on the same disk, and what it could not write it could not take back.
 * @throws PlatformError NO_SPACE
 */
export async function assertRoom({ host }: Pick<PlatformDeps, 'host'>): Promise<void> {
  if (await isDiskFull(host)) {
    throw new PlatformError(
      'NO_SPACE',
      'Cannot make a volume: the disk that holds the data directory is full. Free space, then retry',
    );
  }
}

/** A host that is away delays the operation and does not refuse it. */
async function isDiskFull(host: PlatformDeps['host']): Promise<boolean> {
  try {
    return (await host.storageSpace()).isDiskFull;
  } catch (error) {
    if (error instanceof PlatformError && error.code === 'HOST_UNAVAILABLE') return false;
    throw error;
  }
}
