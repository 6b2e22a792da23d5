import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { DEFAULT_PG_VERSION, PG_VERSIONS, type Engine, type EngineStore, type EngineSummary } from './engine.ts';
import { copyNpmEngine, findNpmPackage, fullVersionOf, type NpmPackage } from './npm-engine.ts';
import { npmInstallDir } from './npm-packages.ts';
import { assertReachable } from './reachable-path.ts';
import { SystemEngines } from './system-engine.ts';

export interface EngineStoreOptions {
  /** Absolute. Copies of npm engines live here; made if it is not there. */
  readonly enginesDir: string;
  /** `node_modules` folders to look in, beside those that `tenantry engine install` fills. */
  readonly packagesDirs: readonly string[];
  /** The user that Postgres runs as; null without root. */
  readonly runAs: { readonly uid: number; readonly gid: number } | null;
  readonly log: Log;
}

/** Engines from npm packages first, from the system where npm has none. */
export function createEngineStore({ enginesDir, packagesDirs, runAs, log }: EngineStoreOptions): EngineStore {
  const system = new SystemEngines();
  const found = new Map<number, Promise<Engine | undefined>>();
  const ready = new Map<number, Engine>();

  async function newestPackage(pgVersion: number): Promise<NpmPackage | undefined> {
    const installed = join(npmInstallDir(enginesDir, pgVersion), 'node_modules');
    const packages = await Promise.all([installed, ...packagesDirs].map(findNpmPackage));
    return packages
      .filter((p): p is NpmPackage => p?.pgVersion === pgVersion)
      .sort((a, b) => b.packageVersion.localeCompare(a.packageVersion, 'en', { numeric: true }))[0];
  }

  async function look(pgVersion: number): Promise<Engine | undefined> {
    await mkdir(enginesDir, { recursive: true, mode: 0o755 });
    if (runAs) await assertReachable(enginesDir);
    const newest = await newestPackage(pgVersion);
    const engine = newest ? await copyNpmEngine(newest, enginesDir) : await system.find(pgVersion);
    if (engine) log.info({ engine: engine.fullVersion, source: engine.source }, 'engine ready');
    return engine;
  }

  /** Single flight; what is found stays, what is not found is looked for again. */
  async function find(pgVersion: number): Promise<Engine | undefined> {
    const pending = found.get(pgVersion) ?? look(pgVersion);
    found.set(pgVersion, pending);
    const engine = await pending.catch((error: unknown) => {
      found.delete(pgVersion);
      throw error;
    });
    if (engine) ready.set(pgVersion, engine);
    else found.delete(pgVersion);
    return engine;
  }

  /** A package that is being copied, which takes seconds, is told by its own version. */
  async function summarize(pgVersion: number): Promise<EngineSummary | undefined> {
    const known = ready.get(pgVersion);
    if (known) return known;
    const newest = await newestPackage(pgVersion);
    const finding = find(pgVersion);
    if (!newest) return await finding;
    finding.catch(() => {}); // told to whoever needs it
    return { pgVersion, fullVersion: fullVersionOf(newest), source: 'npm' };
  }

  return {
    async get(pgVersion) {
      assertKnownVersion(pgVersion);
      const engine = await find(pgVersion);
      if (engine) return engine;
      throw new PlatformError(
        'ENGINE_NOT_INSTALLED',
        `Cannot use Postgres ${pgVersion}: it is not installed on this machine. Run ./tenantry engine install ${pgVersion}`,
        { details: { pgVersion } },
      );
    },
    async summaries() {
      const engines = await Promise.all(PG_VERSIONS.map(summarize));
      return engines.filter((engine) => engine !== undefined);
    },
  };
}

/** @throws PlatformError UNKNOWN_PG_VERSION for a major version that Tenantry cannot run */
export function assertKnownVersion(pgVersion: number): void {
  if (PG_VERSIONS.some((known) => known === pgVersion)) return;
  throw new PlatformError(
    'UNKNOWN_PG_VERSION',
    `Cannot use Postgres ${pgVersion}: pg_version takes one of ${PG_VERSIONS.join(', ')} (default ${DEFAULT_PG_VERSION})`,
    { details: { pgVersion } },
  );
}
