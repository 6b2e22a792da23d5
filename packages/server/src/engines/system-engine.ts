import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine } from './engine.ts';
import { readFullVersion } from './npm-engine.ts';
import { runProgram } from './run-program.ts';

/** Where packages of Debian, PGDG for Red Hat, and Homebrew (arm64, x64) put the programs of a major version. */
const systemBinDirs = (pgVersion: number): readonly string[] => [
  `/usr/lib/postgresql/${pgVersion}/bin`,
  `/usr/pgsql-${pgVersion}/bin`,
  `/opt/homebrew/opt/postgresql@${pgVersion}/bin`,
  `/usr/local/opt/postgresql@${pgVersion}/bin`,
];

/** The Postgres of a major version that the machine's own package manager (or a `pg_config` on PATH) provides. */
export async function findSystemEngine(pgVersion: number): Promise<Engine | undefined> {
  for (const binDir of [...systemBinDirs(pgVersion), await pgConfigBinDir()]) {
    if (!binDir) continue;
    const postgresPath = join(binDir, 'postgres');
    const initdbPath = join(binDir, 'initdb');
    if (!(await isExecutable(postgresPath)) || !(await isExecutable(initdbPath))) continue;
    const fullVersion = await readFullVersion(postgresPath).catch(() => '');
    if (Number.parseInt(fullVersion, 10) !== pgVersion) continue;
    return { pgVersion, fullVersion, source: 'system', postgresPath, initdbPath, env: {} };
  }
  return undefined;
}

async function pgConfigBinDir(): Promise<string | undefined> {
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
