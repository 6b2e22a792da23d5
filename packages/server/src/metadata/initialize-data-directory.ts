import { execFile } from 'node:child_process';
import { chown, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Engine } from '../engines/engine.ts';
import { syncDirectory } from '../kernel/atomic-file.ts';
import { messageOf, PlatformError } from '../kernel/errors.ts';
import type { Secret } from '../kernel/secret.ts';

interface InitializeOptions {
  readonly dataDir: string;
  readonly engine: Engine;
  readonly runAs: { readonly uid: number; readonly gid: number } | null;
  readonly password: Secret;
}

const INITDB_TIMEOUT_MS = 120_000;

/**
 * Makes the data directory with `initdb`, whole or not at all: beside it, then renamed.
 * @throws PlatformError METADATA_UNAVAILABLE, or NO_SPACE, with what initdb said
 */
export async function initializeDataDirectory({ dataDir, engine, runAs, password }: InitializeOptions): Promise<void> {
  const temporary = `${dataDir}.new`;
  const made = join(temporary, 'data');
  const passwordFile = join(temporary, 'password');
  // One left by a crash, whose initdb may still write.
  await rm(temporary, { recursive: true, force: true, maxRetries: 10 });
  try {
    await mkdir(temporary, { mode: 0o700 });
    await writeFile(passwordFile, password.reveal(), { mode: 0o600 });
    if (runAs) for (const path of [temporary, passwordFile]) await chown(path, runAs.uid, runAs.gid);
    const args = ['-D', made, '-U', 'tenantry', '-A', 'scram-sha-256', '--pwfile', passwordFile, '-E', 'UTF8', '-k'];
    // The builtin locale needs none from the operating system.
    const locale = ['--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8', '--no-locale'];
    await promisify(execFile)(engine.initdbPath, [...args, ...locale], {
      cwd: temporary,
      env: engine.env,
      timeout: INITDB_TIMEOUT_MS,
      ...runAs,
    });
    // Empty, or not there: anything else makes this fail.
    await rename(made, dataDir);
    await syncDirectory(dirname(dataDir));
  } catch (error) {
    const words = messageOf(error).trim().split('\n').slice(1).join(' ') || messageOf(error);
    const code = /No space left on device|ENOSPC/.test(words) ? 'NO_SPACE' : 'METADATA_UNAVAILABLE';
    throw new PlatformError(code, `Cannot make the metadata database: ${words}`, { cause: error });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
