import { PlatformError } from '../kernel/errors.ts';
import { runProgram } from '../engines/run-program.ts';
import { WASM_PG_DUMP_VERSION } from './run-wasm-dump.ts';

export type PgDump =
  | { readonly kind: 'system'; readonly path: string; readonly version: number }
  | { readonly kind: 'wasm'; readonly version: number };

const VERSION_MS = 10_000;

/** Where packages of Debian, PGDG for Red Hat, and Homebrew put it, newest first; last, what is on the PATH. */
const PATHS = [...[18, 17, 16, 15, 14].flatMap(pathsOf), 'pg_dump'];

function pathsOf(version: number): string[] {
  return [
    `/usr/lib/postgresql/${version}/bin/pg_dump`,
    `/usr/pgsql-${version}/bin/pg_dump`,
    `/opt/homebrew/opt/postgresql@${version}/bin/pg_dump`,
    `/usr/local/opt/postgresql@${version}/bin/pg_dump`,
  ];
}

/**
 * The pg_dump for a server: one reads servers of its own major version and of all before. A program of the system is
 * preferred, being several times as fast as the one in WebAssembly, which is always there.
 * @throws PlatformError ENGINE_NOT_INSTALLED if the server is newer than both
 */
export async function findPgDump(pgVersion: number): Promise<PgDump> {
  for (const path of PATHS) {
    const version = await versionOf(path);
    if (version !== undefined && version >= pgVersion) return { kind: 'system', path, version };
  }
  if (pgVersion <= WASM_PG_DUMP_VERSION) return { kind: 'wasm', version: WASM_PG_DUMP_VERSION };
  throw new PlatformError('ENGINE_NOT_INSTALLED', `Cannot read the schema: install pg_dump of Postgres ${pgVersion}`);
}

/** Undefined if there is none. Debian's on the PATH is a script that picks one by a cluster of its own: its word counts. */
async function versionOf(path: string): Promise<number | undefined> {
  try {
    const text = await runProgram(path, ['--version'], { deadlineMs: VERSION_MS });
    const major = /^pg_dump \(PostgreSQL\) (\d+)/.exec(text)?.[1];
    return major === undefined ? undefined : Number(major);
  } catch {
    return undefined;
  }
}
