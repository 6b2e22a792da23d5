import { mkdirSync, mkdtempSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, runOk } from './run.ts';

const MB = 1024 * 1024;

export interface SmallDisk extends AsyncDisposable {
  readonly path: string;
  freeBytes(): number;
  /** Fills it so that this much is free; infinity empties the filler. */
  leave(bytes: number): void;
}

/** A filesystem of its own, in a file. Root only. */
export async function smallDisk(megabytes: number, filesystem: 'ext4' | 'xfs' = 'ext4'): Promise<SmallDisk> {
  const root = mkdtempSync('/tmp/tenantry-disk-');
  const image = join(root, 'image');
  const path = join(root, 'mnt');
  writeFileSync(image, '');
  truncateSync(image, megabytes * MB);
  mkdirSync(path);
  await runOk('chmod', ['711', root]);
  if (filesystem === 'xfs') await runOk('mkfs.xfs', ['-q', image]);
  else await runOk('mkfs.ext4', ['-q', '-m', '0', image]);
  await runOk('mount', ['-o', 'loop', image, path]);
  const filler = join(path, 'filler');
  const freeBytes = (): number => {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  };
  return {
    path,
    freeBytes,
    leave(bytes) {
      rmSync(filler, { force: true });
      const size = freeBytes() - bytes;
      try {
        if (size > 0) writeFileSync(filler, Buffer.alloc(size));
      } catch (error) {
        // Others write meanwhile: then it is as full as it gets.
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      await run('umount', ['-l', path]);
      rmSync(root, { recursive: true, force: true });
    },
  };
}
