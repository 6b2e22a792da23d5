import { constants } from 'node:fs';
import { chmod, cp, mkdtemp, readdir, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { codeOf } from '../kernel/errors.ts';
import { readFileIfExists } from '../kernel/atomic-file.ts';
import { disarmOpensslEngines } from './disarm-openssl-engines.ts';
import type { Engine } from './engine.ts';
import { grantExtensions } from './extension-grants.ts';
import { hideUnloadable } from './hide-unloadable.ts';
import { npmPackageName } from './npm-packages.ts';
import { runProgram } from './run-program.ts';
import { syncTree } from './sync-tree.ts';
import { trustExtensions } from './trusted-extensions.ts';

export interface NpmPackage {
  readonly packageVersion: string;
  readonly pgVersion: number;
  readonly packageDir: string;
}

/** Raise it when what is changed in a copy changes: existing copies are in use, and stay as they are. */
const COPY_FORMAT = 3;

/** How the name of a copy begins that is not whole yet. */
export const UNFINISHED_COPY = '.copy-';

/** The Postgres package in a `node_modules` folder, if it holds one for this machine. */
export async function findNpmPackage(nodeModulesDir: string): Promise<NpmPackage | undefined> {
  const packageDir = join(nodeModulesDir, npmPackageName());
  const manifest = await readFileIfExists(join(packageDir, 'package.json'));
  const packageVersion = /"version":\s*"(\d+\.[^"]+)"/.exec(manifest ?? '')?.[1];
  return packageVersion ? { packageVersion, pgVersion: Number.parseInt(packageVersion, 10), packageDir } : undefined;
}

/**
 * The engine of a package, from its own copy `<enginesDir>/<full version>-<package version>-<format>`: npm runs no install
 * scripts, so the package lacks its symbolic links; tenants' users may not reach it; and the next `npm install` would
 * replace it under running computes. The copy is made once and stays.
 */
export async function copyNpmEngine(found: NpmPackage, enginesDir: string): Promise<Engine> {
  const suffix = copySuffix(found);
  const present = (await readdir(enginesDir)).find((name) => /^\d/.test(name) && name.endsWith(suffix));
  const engineDir = present ? join(enginesDir, present) : await makeCopy(found, enginesDir);
  return {
    pgVersion: found.pgVersion,
    fullVersion: basename(engineDir).slice(0, -suffix.length),
    source: 'npm',
    postgresPath: join(engineDir, 'bin/postgres'),
    initdbPath: join(engineDir, 'bin/initdb'),
    env: {},
  };
}

/** `17.10.0-beta.17` gives `17.10`. */
export const fullVersionOf = ({ packageVersion }: NpmPackage): string => packageVersion.split('.', 2).join('.');

const copySuffix = ({ packageVersion }: NpmPackage): string => `-${packageVersion}-${COPY_FORMAT}`;

/** `postgres (PostgreSQL) 17.10 (Debian 17.10-1)` gives `17.10`. */
export async function readFullVersion(postgresPath: string): Promise<string> {
  const words = await runProgram(postgresPath, ['--version'], { deadlineMs: 20_000 });
  const version = /\(PostgreSQL\) (\d+\S*)/.exec(words)?.[1];
  if (!version) throw new Error(`Cannot read the version of ${postgresPath}: it says ${words.trim()}`);
  return version;
}

async function makeCopy(found: NpmPackage, enginesDir: string): Promise<string> {
  const unfinished = await mkdtemp(join(enginesDir, UNFINISHED_COPY));
  try {
    await cp(join(found.packageDir, 'native'), unfinished, {
      recursive: true,
      verbatimSymlinks: true,
      mode: constants.COPYFILE_FICLONE,
    });
    await makeSymlinks(unfinished);
    await openToAll(unfinished);
    await adaptExtensions(unfinished);
    await disarmOpensslEngines(join(unfinished, 'lib'));
    await syncTree(unfinished);
    const fullVersion = await readFullVersion(join(unfinished, 'bin/postgres'));
    const engineDir = join(enginesDir, `${fullVersion}${copySuffix(found)}`);
    await rename(unfinished, engineDir).catch((error: unknown) => {
      // Another process was faster; its copy is as good.
      if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error;
    });
    return engineDir;
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

async function adaptExtensions(engineDir: string): Promise<void> {
  const extensionDir = join(engineDir, 'share/postgresql/extension');
  await trustExtensions(extensionDir);
  await grantExtensions(extensionDir);
  await hideUnloadable(extensionDir, join(engineDir, 'lib/postgresql'));
}

/** Makes the links that the package lists: pairs of paths that start with `native/`. */
async function makeSymlinks(engineDir: string): Promise<void> {
  const list: unknown = JSON.parse((await readFileIfExists(join(engineDir, 'pg-symlinks.json'))) ?? '[]');
  for (const { source, target } of list as { source: string; target: string }[]) {
    const link = join(engineDir, target.replace(/^native\//, ''));
    const pointsTo = join(engineDir, source.replace(/^native\//, ''));
    if (relative(engineDir, link).startsWith('..') || relative(engineDir, pointsTo).startsWith('..')) continue;
    await rm(link, { force: true });
    await symlink(relative(dirname(link), pointsTo), link);
  }
}

/** Readable by all, executable where it is a folder, a program or a library. */
async function openToAll(engineDir: string): Promise<void> {
  await chmod(engineDir, 0o755);
  for (const entry of await readdir(engineDir, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue;
    const runs = entry.isDirectory() || basename(entry.parentPath) === 'bin' || /\.(so|dylib)/.test(entry.name);
    await chmod(join(entry.parentPath, entry.name), runs ? 0o755 : 0o644);
  }
}
