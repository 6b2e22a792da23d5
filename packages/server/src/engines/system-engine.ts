import { access, constants, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
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
    const fullVersion = await askOnce(postgresPath, readFullVersion).catch(() => '');
    if (Number.parseInt(fullVersion, 10) !== pgVersion) continue;
    return { pgVersion, fullVersion, source: 'system', postgresPath, initdbPath, env: {} };
  }
  return undefined;
}

async function pgConfigBinDir(): Promise<string | undefined> {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory, 'pg_config');
    if (!directory || !(await isExecutable(path))) continue;
    return await askOnce(path, readBinDir).catch(() => undefined);
  }
  return undefined;
}

const readBinDir = async (pgConfigPath: string): Promise<string> =>
  (await runProgram(pgConfigPath, ['--bindir'], { deadlineMs: 10_000 })).trim();

const answers = new Map<string, Promise<string>>();

/**
 * What a program says of itself, asked once until another file takes its place: asking takes a process, and the versions
 * that are not installed are looked for again with every look at the host's health.
 */
async function askOnce(path: string, ask: (path: string) => Promise<string>): Promise<string> {
  const { ino, mtimeMs } = await stat(path);
  const key = `${path} ${ino} ${mtimeMs}`;
  const answer = answers.get(key) ?? ask(path);
  answers.set(key, answer);
  return await answer.catch((error: unknown) => {
    answers.delete(key);
    throw error;
  });
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
