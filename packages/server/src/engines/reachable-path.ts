import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PlatformError } from '../kernel/errors.ts';
import { runProgram } from './run-program.ts';

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

const MOUNT_DEADLINE_MS = 20_000;

/**
 * A path to a directory that every user of the machine can pass: itself, or, where a private directory is above it, a
 * bind mount of it at `alias`. Needs root and Linux. The mount stays, for the computes that outlive us.
 * @throws PlatformError INVALID_REQUEST if the machine forbids the mount
 */
export async function ensureReachable(path: string, alias: string): Promise<string> {
  await mkdir(path, { recursive: true });
  if ((await findUnreachable(dirname(path))) === undefined) return path;
  await mkdir(alias, { recursive: true, mode: 0o755 });
  if (await isSameDirectory(path, alias)) return alias;
  try {
    // With all that is mounted below it: a storage pool of an earlier run.
    await runProgram('mount', ['--rbind', path, alias], { deadlineMs: MOUNT_DEADLINE_MS });
  } catch {
    await assertReachable(path);
  }
  return alias;
}

async function isSameDirectory(path: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([stat(path), stat(other)]);
  return a.ino === b.ino && a.dev === b.dev;
}

/** The topmost directory on the way to `path`, itself included, that other users cannot pass. */
export async function findUnreachable(path: string): Promise<string | undefined> {
  const parent = dirname(path);
  const above = parent === path ? undefined : await findUnreachable(parent);
  if (above !== undefined) return above;
  return (await stat(path)).mode & OTHERS_MAY_PASS ? undefined : path;
}
