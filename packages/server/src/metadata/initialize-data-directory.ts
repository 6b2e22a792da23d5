import { chown, lchown, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createBuildUser } from '../engines/build-user.ts';
import type { Engine } from '../engines/engine.ts';
import { syncDirectory } from '../kernel/atomic-file.ts';
import { messageOf, PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Secret } from '../kernel/secret.ts';

interface InitializeOptions {
  readonly dataDir: string;
  readonly engine: Engine;
  readonly runAs: { readonly uid: number; readonly gid: number } | null;
  readonly password: Secret;
  readonly log: Log;
}

const INITDB_TIMEOUT_MS = 120_000;

/**
 * Makes the data directory with `initdb`, whole or not at all: beside it, then renamed.
 * @throws PlatformError METADATA_UNAVAILABLE, or NO_SPACE, with what initdb said
 */
export async function initializeDataDirectory(options: InitializeOptions): Promise<void> {
  const { dataDir, engine, runAs, password, log } = options;
  const temporary = `${dataDir}.new`;
  const made = join(temporary, 'data');
  const passwordFile = join(temporary, 'password');
  // One left by a crash, whose initdb may still write.
  await rm(temporary, { recursive: true, force: true, maxRetries: 10 });
  try {
    await mkdir(temporary, { mode: 0o700 });
    await writeFile(passwordFile, password.reveal(), { mode: 0o600 });
    const user = await createBuildUser({ runAs, workDir: temporary, log });
    if (user.owner) for (const path of [temporary, passwordFile]) await chown(path, user.owner.uid, user.owner.gid);
    const args = ['-D', made, '-U', 'tenantry', '-A', 'scram-sha-256', '--pwfile', passwordFile, '-E', 'UTF8', '-k'];
    // The builtin locale needs none from the operating system.
    const locale = ['--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8', '--no-locale'];
    await user.run(engine.initdbPath, [...args, ...locale], {
      deadlineMs: INITDB_TIMEOUT_MS,
      env: engine.env,
      cwd: temporary,
    });
    if (runAs && user.owner?.uid !== runAs.uid) await giveTree(made, runAs);
    // Empty, or not there: anything else makes this fail.
    await rename(made, dataDir);
    await syncDirectory(dirname(dataDir));
  } catch (error) {
    const words = messageOf(error);
    const code = /No space left on device|ENOSPC/.test(words) ? 'NO_SPACE' : 'METADATA_UNAVAILABLE';
    throw new PlatformError(code, `Cannot make the metadata database: ${words}`, { cause: error });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function giveTree(root: string, { uid, gid }: { readonly uid: number; readonly gid: number }): Promise<void> {
  const names = await readdir(root, { recursive: true });
  for (const path of [root, ...names.map((name) => join(root, name))]) await lchown(path, uid, gid);
}
