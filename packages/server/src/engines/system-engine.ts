import { access, constants, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine } from './engine.ts';
import { readFullVersion } from './npm-engine.ts';
import { runProgram } from './run-program.ts';

/** Where packages of Debian, PGDG for Red Hat, and Homebrew (arm64, x64) put the programs of a major version. */
export const systemBinDirs = (pgVersion: number): readonly string[] => [
  `/usr/lib/postgresql/${pgVersion}/bin`,
  `/usr/pgsql-${pgVersion}/bin`,
  `/opt/homebrew/opt/postgresql@${pgVersion}/bin`,
  `/usr/local/opt/postgresql@${pgVersion}/bin`,
];

/** Which `pg_config` is on PATH, and what it says, may change at any time. */
const PG_CONFIG_FOR_MS = 10_000;

/**
 * The Postgres of a major version that the machine's own package manager, or a `pg_config` on PATH, provides. What they
 * say of themselves is kept, of `pg_config` for 10 s: to ask takes a process, and the versions that are not there are
 * looked for again with every look at the host's health.
 */
export class SystemEngines {
  readonly #versions = new Map<string, Promise<string>>();
  #pgConfig: { readonly binDir: Promise<string | undefined>; readonly askedAt: number } | undefined;

  async find(pgVersion: number): Promise<Engine | undefined> {
    for (const binDir of [...systemBinDirs(pgVersion), await this.#pgConfigBinDir()]) {
      if (!binDir) continue;
      const postgresPath = join(binDir, 'postgres');
      const initdbPath = join(binDir, 'initdb');
      if (!(await isExecutable(postgresPath)) || !(await isExecutable(initdbPath))) continue;
      const fullVersion = await this.#fullVersionOf(postgresPath).catch(() => '');
      if (Number.parseInt(fullVersion, 10) !== pgVersion) continue;
      return { pgVersion, fullVersion, source: 'system', postgresPath, initdbPath, env: {} };
    }
    return undefined;
  }

  async #fullVersionOf(postgresPath: string): Promise<string> {
    const { ino, mtimeMs } = await stat(postgresPath);
    const key = `${postgresPath} ${ino} ${mtimeMs}`;
    const version = this.#versions.get(key) ?? readFullVersion(postgresPath);
    this.#versions.set(key, version);
    return await version.catch((error: unknown) => {
      this.#versions.delete(key);
      throw error;
    });
  }

  #pgConfigBinDir(): Promise<string | undefined> {
    const now = performance.now();
    if (!this.#pgConfig || now - this.#pgConfig.askedAt > PG_CONFIG_FOR_MS) {
      this.#pgConfig = { binDir: readBinDir(), askedAt: now };
    }
    return this.#pgConfig.binDir;
  }
}

async function readBinDir(): Promise<string | undefined> {
  try {
    return (await runProgram('pg_config', ['--bindir'], { deadlineMs: 10_000 })).trim();
  } catch {
    return undefined;
  }
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
