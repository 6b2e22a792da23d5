import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PlatformError } from '../kernel/errors.ts';

const OTHERS_MAY_PASS = 0o001;

/**
 * Checks that any user of the machine can pass every directory down to `path`: as root, Postgres runs as users of its
 * own, which a private home (mode 0700) above the data directory would shut out.
 * @throws PlatformError INVALID_REQUEST that names the directory in the way
 */
export async function assertReachable(path: string): Promise<void> {
  const blocked = await findUnreachable(path);
  if (blocked === undefined) return;
  throw new PlatformError(
    'INVALID_REQUEST',
    `Cannot keep data in ${path}: only its owner can pass ${blocked}. Set TENANTRY_DATA_DIR to a directory outside it, or run chmod o+x ${blocked}`,
  );
}

/** The topmost directory on the way to `path`, itself included, that other users cannot pass. */
export async function findUnreachable(path: string): Promise<string | undefined> {
  const parent = dirname(path);
  const above = parent === path ? undefined : await findUnreachable(parent);
  if (above !== undefined) return above;
  return (await stat(path)).mode & OTHERS_MAY_PASS ? undefined : path;
}
