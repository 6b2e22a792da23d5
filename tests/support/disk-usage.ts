import { readFileSync, statfsSync } from 'node:fs';
import { runOk } from './run.ts';
import type { RunningPlatform } from './start-platform.ts';

export interface DiskUsage {
  readonly bytes: number;
  /** Volumes are in a pool, whose own count of blocks is taken. */
  readonly isPool: boolean;
}

/**
 * Bytes that an installation takes on disk, once all that was written has its place. In a pool the filesystem's own count
 * is taken: blocks of the image come and go with the discards of deleted volumes.
 */
export async function diskUsage(platform: RunningPlatform): Promise<DiskUsage> {
  await runOk('sync', []);
  const pool = poolOf(platform);
  if (pool === undefined) return { bytes: usedOn(platform.dataDir), isPool: false };
  const outside = Number((await runOk('du', ['-sxB1', '--exclude=*.img', platform.dataDir])).split('\t')[0]);
  return { bytes: outside + usedOn(pool), isPool: true };
}

/** Where the pool of an installation is mounted. */
function poolOf({ dataDir, runDir }: RunningPlatform): string | undefined {
  return readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .find((path) => path.startsWith(`${dataDir}/`) || path.startsWith(`${runDir}/`));
}

function usedOn(path: string): number {
  const { blocks, bfree, bsize } = statfsSync(path);
  return (blocks - bfree) * bsize;
}
