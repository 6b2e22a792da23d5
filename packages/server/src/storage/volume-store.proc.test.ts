import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import {
  appendFile,
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  stat,
  statfs,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client, type ClientConfig } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEngineStore } from '../engines/engine-store.ts';
import type { Engine } from '../engines/engine.ts';
import { installEngine } from '../engines/install-engine.ts';
import { messageOf } from '../kernel/errors.ts';
import { createLog } from '../kernel/log.ts';
import { makeVerifier } from '../kernel/scram-verifier.ts';
import { Secret } from '../kernel/secret.ts';
import { createVolumeStore } from './local-volume-store.ts';
import type { StorageSetting } from './open-backend.ts';
import { closeStorage, openPool, poolPaths } from './pool.ts';
import type { Volume, VolumeStore } from './volume-store.ts';

const isRoot = process.getuid?.() === 0;
const has = (tool: string): boolean =>
  ['/usr/sbin', '/sbin', '/usr/bin'].some((directory) => existsSync(join(directory, tool)));
const nodeModules = fileURLToPath(new URL('../../../../node_modules', import.meta.url));
const log = createLog('test', 'error');
const kept = { historyRetentionSeconds: 86_400 };
const builder = isRoot ? { uid: 71_000, gid: 71_000 } : null;
const ownerOf = (n: number): { uid: number; gid: number } | null =>
  isRoot ? { uid: 71_001 + n, gid: 71_001 + n } : null;
const adminPassword = 'only-for-this-test';
const adminVerifier = new Secret(makeVerifier(adminPassword));

let base = '';
let engine: Engine;
const mounts: string[] = [];

/** A filesystem of its own in a loop-mounted file. */
async function mountLoop(name: string, mkfs: readonly string[], mib: number): Promise<string> {
  const image = join(base, `${name}.img`);
  const path = join(base, name);
  await writeFile(image, '');
  await truncate(image, mib * 1024 * 1024);
  await mkdir(path);
  const [tool = '', ...args] = mkfs;
  execFileSync(tool, [...args, image], { stdio: 'ignore' });
  execFileSync('mount', ['-o', 'loop', image, path]);
  mounts.push(path);
  await chmod(path, 0o755);
  return path;
}

function openStore(hostDir: string, setting: StorageSetting): Promise<VolumeStore> {
  return createVolumeStore({ hostDir, setting, isRoot, engineRunAs: builder, adminVerifier, log });
}

async function waitUntil(what: string, isTrue: () => Promise<boolean>, deadlineMs = 60_000): Promise<void> {
  const untilMs = performance.now() + deadlineMs;
  while (!(await isTrue())) {
    if (performance.now() > untilMs) throw new Error(`Not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Runs `work` against a real Postgres on the volume, started as its owner and stopped cleanly. */
async function withPostgres<T>(volume: Volume, work: (connect: Connect) => Promise<T>, of = engine): Promise<T> {
  const socketDir = await mkdtemp(join(base, 's-'));
  if (volume.owner) await chown(socketDir, volume.owner.uid, volume.owner.gid);
  const settings = ['listen_addresses=', 'wal_init_zero=off', 'wal_recycle=off', 'min_wal_size=32MB'];
  const server = spawn(
    of.postgresPath,
    ['-D', volume.dataPath, '-k', socketDir, ...settings.flatMap((setting) => ['-c', setting])],
    { cwd: '/', env: { ...of.env }, stdio: ['ignore', 'ignore', 'pipe'], ...volume.owner },
  );
  let words = '';
  server.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
  const exited = once(server, 'exit');
  try {
    const isReady = (): boolean => words.includes('ready to accept connections') || server.exitCode !== null;
    await waitUntil('Postgres starts', () => Promise.resolve(isReady()));
    if (server.exitCode !== null) throw new Error(`Postgres did not start: ${words}`);
    return await work(async (options) => {
      const client = new Client({ host: socketDir, user: 'cloud_admin', password: adminPassword, ...options });
      await client.connect();
      return client;
    });
  } finally {
    await stop(server, exited);
  }
}

type Connect = (options: ClientConfig) => Promise<Client>;

async function stop(server: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (server.exitCode === null) server.kill('SIGINT');
  await exited;
}

beforeAll(async () => {
  base = await mkdtemp('/tmp/tenantry-storage-');
  await chmod(base, 0o755);
  engine = await createEngineStore({
    enginesDir: join(base, 'engines'),
    packagesDirs: [nodeModules],
    runAs: builder,
    log,
  }).get(17);
});

afterAll(async () => {
  for (const path of mounts.reverse()) await unmount(path);
  await rm(base, { recursive: true, force: true });
  if (process.platform === 'linux') {
    expect(execFileSync('cat', ['/proc/self/mountinfo'], { encoding: 'utf8' })).not.toContain(base);
  }
});

/** The kernel lets go of a pool's loop device a moment after the pool is unmounted. */
async function unmount(path: string): Promise<void> {
  for (const deadline = Date.now() + 10_000; ; await delay(50)) {
    try {
      execFileSync('umount', ['-R', path]);
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}

interface Case {
  readonly name: string;
  readonly setting: StorageSetting;
  readonly canRun: boolean;
  readonly hostDir: () => Promise<string>;
}

const cases: readonly Case[] = [
  {
    name: 'btrfs pool',
    setting: 'btrfs',
    canRun: isRoot && has('mkfs.btrfs'),
    hostDir: async () => join(base, 'host-pool'),
  },
  {
    name: 'btrfs itself',
    setting: 'auto',
    canRun: isRoot && has('mkfs.btrfs'),
    hostDir: async () => join(await mountLoop('btrfs', ['mkfs.btrfs', '-q'], 2048), 'host'),
  },
  {
    name: 'XFS with reflinks',
    setting: 'auto',
    canRun: isRoot && has('mkfs.xfs'),
    hostDir: async () => join(await mountLoop('xfs', ['mkfs.xfs', '-q'], 2048), 'host'),
  },
  {
    name: 'XFS pool',
    setting: 'reflink',
    canRun: isRoot && has('mkfs.xfs'),
    hostDir: async () => join(base, 'host-xfs-pool'),
  },
  { name: 'copy', setting: 'copy', canRun: true, hostDir: async () => join(base, 'host-copy') },
];

describe.each(cases.filter(({ canRun }) => canRun))('volumes on $name', ({ setting, hostDir: makeHostDir }) => {
  let hostDir = '';
  let store: VolumeStore;
  const root = (): string => (existsSync(join(hostDir, 'pool.img')) ? join(hostDir, 'pool') : hostDir);

  beforeAll(async () => {
    hostDir = await makeHostDir();
    store = await openStore(hostDir, setting);
    await store.recover();
  });

  afterAll(async () => {
    expect(await closeStorage(hostDir)).toBe(true);
  });

  it('runs a real Postgres as the owner, with the roles and the database of every project', async () => {
    const owner = ownerOf(1);
    const volume = await store.create({ volumeId: 'br-real', engine, owner, ...kept });
    expect(await store.find('br-real')).toEqual(volume);
    await withPostgres(volume, async (connect) => {
      const admin = await connect({ database: 'neondb' });
      await admin.query(`ALTER ROLE neondb_owner PASSWORD 'tenant'`);
      const { rows } = await admin.query(
        `SELECT rolname, rolsuper, rolcanlogin, rolcreaterole FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1`,
      );
      expect(rows).toEqual([
        { rolname: 'cloud_admin', rolsuper: true, rolcanlogin: true, rolcreaterole: true },
        { rolname: 'neon_superuser', rolsuper: false, rolcanlogin: false, rolcreaterole: true },
        { rolname: 'neondb_owner', rolsuper: false, rolcanlogin: true, rolcreaterole: true },
      ]);
      const settings = await admin.query(
        `SELECT datcollate, datctype, datlocprovider, pg_encoding_to_char(encoding) AS encoding,
                current_setting('data_checksums') AS checksums, current_setting('wal_segment_size') AS segment
           FROM pg_database WHERE datname = 'neondb'`,
      );
      expect(settings.rows[0]).toMatchObject({
        encoding: 'UTF8',
        datlocprovider: 'b',
        checksums: 'on',
        segment: '16MB',
      });
      await admin.end();
      const tenant = await connect({ user: 'neondb_owner', password: 'tenant', database: 'neondb' });
      await tenant.query('CREATE EXTENSION dblink');
      await tenant.query('CREATE EXTENSION postgres_fdw');
      await tenant.query('CREATE EXTENSION amcheck');
      await tenant.query('CREATE SERVER a FOREIGN DATA WRAPPER postgres_fdw');
      await tenant.query('CREATE SERVER b FOREIGN DATA WRAPPER dblink_fdw');
      await tenant.query(
        `SELECT bt_index_check('pg_class_oid_index'), bt_index_parent_check('pg_class_oid_index', true)`,
      );
      await expect(tenant.query(`SELECT dblink_connect_u('dbname=postgres')`)).rejects.toThrow(/permission denied/);
      await tenant.query('CREATE TABLE rows AS SELECT generate_series(1, 1000) AS n');
      await expect(tenant.query('CREATE EXTENSION file_fdw')).rejects.toThrow(/permission denied/);
      await tenant.end();
      await refuseAttacks(connect);
    });
    await withPostgres(volume, async (connect) => {
      const tenant = await connect({ user: 'neondb_owner', password: 'tenant', database: 'neondb' });
      expect((await tenant.query('SELECT count(*)::int AS n FROM rows')).rows).toEqual([{ n: 1000 }]);
      await tenant.end();
    });
    await store.delete('br-real');
  });

  it('gives files, modes and WAL to the owner alone', async () => {
    const owner = ownerOf(2);
    const volume = await store.create({ volumeId: 'br-owned', engine, owner, ...kept });
    for (const path of [volume.dataPath, volume.walPath]) {
      const { mode, uid } = await stat(path);
      expect(mode & 0o777).toBe(0o700);
      expect(uid).toBe(owner?.uid ?? process.getuid?.());
    }
    expect((await stat(join(volume.dataPath, 'pg_wal'))).ino).toBe((await stat(volume.walPath)).ino);
    expect((await stat(join(root(), 'volumes/br-owned/volume.json'))).mode & 0o077).toBe(0);
    if (owner) {
      const stranger = ownerOf(99)?.uid ?? 0;
      for (const path of ['data/global/1260', 'data/PG_VERSION', 'data/base', 'volume.json', '.', '..']) {
        expect(() => readAs(stranger, join(root(), 'volumes/br-owned', path))).toThrow();
      }
      expect(() => readAs(stranger, volume.walPath)).toThrow();
      expect(() => readAs(stranger, join(root(), 'templates'))).toThrow();
      expect(readAs(owner.uid, join(volume.dataPath, 'PG_VERSION'))).toBe('17\n');
      for (const name of ['pool.img', 'storage.json']) {
        if (existsSync(join(hostDir, name))) expect((await stat(join(hostDir, name))).mode & 0o077).toBe(0);
      }
    }
    await store.delete('br-owned');
  });

  it('owns little WAL, and its usage is that of a fresh cluster', async () => {
    const volume = await store.create({ volumeId: 'br-small', engine, owner: ownerOf(3), ...kept });
    const segments = (await readdir(volume.walPath)).filter((name) => /^[0-9A-F]{24}$/.test(name));
    expect(segments).toHaveLength(1);
    const segment = await lstat(join(volume.walPath, segments[0] ?? ''));
    expect(segment.size).toBe(16 * 1024 * 1024);
    expect(segment.blocks * 512).toBeLessThan(64 * 1024);
    const usage = await store.usage('br-small');
    expect(usage.logicalBytes).toBeGreaterThan(20_000_000);
    expect(usage.logicalBytes).toBeLessThan(60_000_000);
    expect(usage.exclusiveBytes).toBeGreaterThan(0);
    if (store.backend.name === 'btrfs') expect(usage.exclusiveBytes).toBeLessThan(256 * 1024);
    await store.delete('br-small');
    await expect(store.usage('br-small')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('makes one volume of many creates at once, and twenty at a time', async () => {
    const same = await Promise.all(
      Array.from({ length: 5 }, () => store.create({ volumeId: 'br-same', engine, owner: ownerOf(4), ...kept })),
    );
    expect(new Set(same.map((volume) => JSON.stringify(volume))).size).toBe(1);
    const ids = Array.from({ length: 20 }, (_, n) => `br-many-${n}`);
    await Promise.all(ids.map((volumeId, n) => store.create({ volumeId, engine, owner: ownerOf(10 + n), ...kept })));
    expect((await store.list()).map((volume) => volume.volumeId)).toEqual([...ids, 'br-same'].sort());
    const counts = await Promise.all(ids.map(async (id) => countFiles(join(root(), 'volumes', id))));
    expect(new Set(counts).size).toBe(1);
    await Promise.all([...ids, 'br-same', 'br-same', 'br-none'].map((volumeId) => store.delete(volumeId)));
    expect(await store.list()).toEqual([]);
    expect(await readdir(join(hostDir, 'wal'))).toEqual([]);
  });

  it('gives the space of a deleted volume back', async () => {
    const volume = await store.create({ volumeId: 'br-big', engine, owner: ownerOf(5), ...kept });
    const usedBytes = async (): Promise<number> => {
      if (store.backend.name === 'btrfs') {
        // The first sync wakes the cleaner, the second waits for it, the third commits what it did.
        execFileSync('btrfs', ['filesystem', 'sync', root()]);
        execFileSync('btrfs', ['subvolume', 'sync', '-s', '1', root()], { stdio: 'ignore' });
        execFileSync('btrfs', ['filesystem', 'sync', root()]);
      }
      // Copies share their filesystem with all else on the machine.
      if (store.backend.name === 'copy') return Number(execFileSync('du', ['-sxB1', root()]).toString().split('\t')[0]);
      const { blocks, bfree, bsize } = await statfs(root());
      return (blocks - bfree) * bsize;
    };
    const before = await usedBytes();
    await appendFile(join(volume.dataPath, 'base/big'), Buffer.alloc(64 * 1024 * 1024, 7));
    expect((await usedBytes()) - before).toBeGreaterThan(60_000_000);
    await store.delete('br-big');
    await waitUntil('the space is free', async () => (await usedBytes()) < before + 4_000_000);
  });

  it('removes what a crash left half made or half deleted, and nothing else', async () => {
    await store.create({ volumeId: 'br-whole', engine, owner: ownerOf(6), ...kept });
    await store.create({ volumeId: 'br-dying', engine, owner: ownerOf(7), ...kept });
    await store.create({ volumeId: 'br-young', engine, owner: ownerOf(8), ...kept });
    execFileSync('mv', [join(root(), 'volumes/br-dying'), join(root(), 'trash/br-dying.0')]);
    execFileSync('mv', [join(root(), 'volumes/br-young'), join(root(), 'staging/br-young.0')]);
    await mkdir(join(hostDir, 'wal/br-leaked'));
    const again = await openStore(hostDir, setting);
    await again.recover();
    expect((await again.list()).map((volume) => volume.volumeId)).toEqual(['br-whole']);
    for (const name of ['staging', 'trash']) expect(await readdir(join(root(), name))).toEqual([]);
    expect(await readdir(join(hostDir, 'wal'))).toEqual(['br-whole']);
    const young = await again.create({ volumeId: 'br-young', engine, owner: ownerOf(8), ...kept });
    await withPostgres(young, async (connect) => (await connect({ database: 'postgres' })).end());
    await again.delete('br-whole');
    await again.delete('br-young');
  });

  it('removes at the second try what a failed deletion has left', async () => {
    await store.create({ volumeId: 'br-stuck', engine, owner: ownerOf(9), ...kept });
    execFileSync('mv', [join(root(), 'volumes/br-stuck'), join(root(), 'trash/br-stuck.gone.0')]);
    await store.delete('br-stuck');
    expect(await readdir(join(root(), 'trash'))).toEqual([]);
    for (const name of ['wal', 'history']) expect(await readdir(join(hostDir, name)), name).toEqual([]);
  });

  it('never touches a directory that it does not understand', async () => {
    await mkdir(join(root(), 'volumes/br-odd'));
    await writeFile(join(root(), 'volumes/br-odd/volume.json'), '{"format":99}');
    await mkdir(join(root(), 'volumes/br-bare'));
    await mkdir(join(hostDir, 'wal/br-bare'));
    await store.recover();
    expect(await store.list()).toEqual([]);
    for (const volumeId of ['br-odd', 'br-bare']) {
      await expect(store.create({ volumeId, engine, owner: ownerOf(8), ...kept })).rejects.toThrow(/volume record/);
      await rm(join(root(), 'volumes', volumeId), { recursive: true });
    }
    expect(await readdir(join(hostDir, 'wal'))).toEqual(['br-bare']);
    await store.recover();
    expect(await readdir(join(hostDir, 'wal'))).toEqual([]);
  });

  it('finds everything after it was closed and opened again, under any setting that allows it', async () => {
    const volume = await store.create({ volumeId: 'br-kept', engine, owner: ownerOf(9), ...kept });
    expect(await closeStorage(hostDir)).toBe(true);
    store = await openStore(hostDir, 'auto');
    expect(await store.list()).toEqual([volume]);
    const other = setting === 'copy' ? 'btrfs' : 'copy';
    await expect(openStore(hostDir, other)).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    await store.delete('br-kept');
  });
});

describe('templates that nothing needs any more', () => {
  it.each((isRoot && has('mkfs.btrfs') ? ['btrfs', 'copy'] : ['copy']) as StorageSetting[])(
    'go once the one that replaces them is there (%s)',
    async (setting) => {
      const hostDir = join(base, `host-older-${setting}`);
      const root = setting === 'btrfs' ? join(hostDir, 'pool') : hostDir;
      const volume = await (
        await openStore(hostDir, setting)
      ).create({ volumeId: 'br-old', engine, owner: ownerOf(1), ...kept });
      const [first] = await readdir(join(root, 'templates'));
      await mkdir(join(root, 'templates/16.1-npm-1-00000000'));
      const adminVerifier = new Secret(makeVerifier(adminPassword));
      const again = await createVolumeStore({ hostDir, setting, isRoot, engineRunAs: builder, adminVerifier, log });
      await again.prepare(engine);
      // The history of a volume begins with the first one.
      expect(await readdir(join(root, 'templates'))).toHaveLength(3);
      await withPostgres(volume, refuseAttacks);
      await again.delete('br-old');
      await (
        await createVolumeStore({ hostDir, setting, isRoot, engineRunAs: builder, adminVerifier, log })
      ).prepare(engine);
      const names = await readdir(join(root, 'templates'));
      expect(names).toHaveLength(2);
      expect(names).toContain('16.1-npm-1-00000000');
      expect(names).not.toContain(first);
      expect(await readdir(join(root, 'staging'))).toEqual([]);
      expect(await closeStorage(hostDir)).toBe(true);
    },
  );
});

/** The last before roles were hardened, and the newest; `tests/system/versions.system.test.ts` has all of them. */
describe.each([15, 18])('a template of Postgres %i', (pgVersion) => {
  it('holds the same roles, and refuses the same attacks', async ({ skip }) => {
    const enginesDir = join(base, 'engines');
    const problem = await installEngine(pgVersion, { enginesDir, onProgress: () => {} }).catch(messageOf);
    skip(/registry cannot be reached/.test(problem ?? ''), `Postgres ${pgVersion}: the npm registry cannot be reached`);
    expect(problem).toBeUndefined();
    const other = await createEngineStore({ enginesDir, packagesDirs: [nodeModules], runAs: builder, log }).get(
      pgVersion,
    );
    const store = await openStore(join(base, `host-${pgVersion}`), 'copy');
    const volume = await store.create({ volumeId: `br-${pgVersion}`, engine: other, owner: ownerOf(1), ...kept });
    expect(volume.pgVersion).toBe(pgVersion);
    await withPostgres(volume, refuseAttacks, other);
    await store.delete(volume.volumeId);
  });
});

async function refuseAttacks(connect: Connect): Promise<void> {
  const admin = await connect({ database: 'neondb' });
  await admin.query(`ALTER ROLE neondb_owner PASSWORD 'tenant'`);
  await admin.end();
  const tenant = await connect({ user: 'neondb_owner', password: 'tenant', database: 'neondb' });
  await tenant.query('CREATE TABLE kept (n int)');
  for (const attack of [
    'GRANT pg_execute_server_program TO neondb_owner',
    'GRANT pg_read_server_files TO neondb_owner',
    'GRANT pg_write_server_files TO neondb_owner',
    'GRANT cloud_admin TO neondb_owner',
    `ALTER ROLE cloud_admin PASSWORD 'mine'`,
    `COPY kept FROM '/etc/passwd'`,
    `COPY kept TO PROGRAM 'true'`,
    `SELECT pg_read_file('/etc/passwd')`,
    `SELECT lo_import('/etc/passwd')`,
    `LOAD '/tmp/library.so'`,
    'ALTER SYSTEM SET fsync = off',
  ]) {
    await expect(tenant.query(attack), attack).rejects.toThrow(/permission denied|must be superuser|not allowed/);
  }
  await tenant.end();
}

function readAs(uid: number, path: string): string {
  const script = 'if [ -d "$1" ]; then ls "$1"; else cat "$1"; fi';
  const words = ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', 'sh', '-c', script, 'sh', path];
  return execFileSync('setpriv', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

async function countFiles(path: string): Promise<number> {
  return (await readdir(path, { recursive: true })).length;
}

describe.runIf(isRoot && has('mkfs.btrfs'))('a full disk', () => {
  it.each(['btrfs', 'copy'] as const)('refuses the volume and leaves nothing behind (%s)', async (setting) => {
    const hostDir = join(await mountLoop(`full-${setting}`, ['mkfs.ext4', '-q'], 700), 'host');
    const store = await openStore(hostDir, setting);
    await store.recover();
    const first = await store.create({ volumeId: 'br-first', engine, owner: ownerOf(1), ...kept });
    const roots = setting === 'btrfs' ? [join(hostDir, 'pool'), hostDir] : [hostDir];
    for (const root of roots) {
      const fillers = await fillWhile(join(root, 'filler'), async () => await store.keepRoom());
      await expect(store.create({ volumeId: 'br-second', engine, owner: ownerOf(2), ...kept })).rejects.toMatchObject({
        code: 'NO_SPACE',
      });
      for (const filler of fillers) await rm(filler);
      expect((await store.list()).map((volume) => volume.volumeId)).toEqual(['br-first']);
      expect(await readdir(join(hostDir, 'wal'))).toEqual(['br-first']);
    }
    await store.create({ volumeId: 'br-second', engine, owner: ownerOf(2), ...kept });
    await withPostgres(first, async (connect) => (await connect({ database: 'postgres' })).end());
    expect(await closeStorage(hostDir)).toBe(true);
  });

  it('that fills up in the middle of a copy leaves nothing behind', async () => {
    const hostDir = join(await mountLoop('full-middle', ['mkfs.ext4', '-q'], 400), 'host');
    const store = await openStore(hostDir, 'copy');
    await store.recover();
    let made = 0;
    for (let failure: unknown; failure === undefined; made += 1) {
      failure = await store.create({ volumeId: `br-${made}`, engine, owner: ownerOf(made), ...kept }).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (failure !== undefined) expect(failure).toMatchObject({ code: 'NO_SPACE' });
    }
    expect(await store.list()).toHaveLength(made - 1);
    expect(await readdir(join(hostDir, 'staging'))).toEqual([]);
    expect(await readdir(join(hostDir, 'wal'))).toHaveLength(made - 1);
  });
});

/** Takes all but the last few megabytes: by pieces, because btrfs promises more than it then gives at once. */
function fill(path: string): void {
  const pieceBytes = 4 * 1024 * 1024;
  try {
    for (let at = 0; ; at += pieceBytes) {
      execFileSync('fallocate', ['-o', `${at}`, '-l', `${pieceBytes}`, path], { stdio: 'ignore' });
    }
  } catch {
    // "No space left on device": what we want.
  }
}

describe.runIf(isRoot && has('mkfs.btrfs'))('the pool', () => {
  it('whose image is missing is not made anew while WAL of its volumes is there', async () => {
    const hostDir = join(base, 'host-lost-pool');
    const store = await openStore(hostDir, 'auto');
    const volume = await store.create({ volumeId: 'br-kept', engine, owner: ownerOf(1), ...kept });
    expect(await closeStorage(hostDir)).toBe(true);
    const { imagePath } = poolPaths(hostDir);
    await rename(imagePath, `${imagePath}.away`);
    await expect(openStore(hostDir, 'auto')).rejects.toMatchObject({ code: 'INVALID_REQUEST', message: /is missing/ });
    expect(await readdir(join(hostDir, 'wal'))).toEqual(['br-kept']);
    await rename(`${imagePath}.away`, imagePath);
    const again = await openStore(hostDir, 'auto');
    expect(await again.list()).toEqual([volume]);
    await again.delete('br-kept');
    expect(await closeStorage(hostDir)).toBe(true);
  });

  it('uses a loop device again that a crash left attached', async () => {
    const hostDir = join(base, 'host-loop');
    const store = await openStore(hostDir, 'btrfs');
    await store.create({ volumeId: 'br-loop', engine, owner: ownerOf(1), ...kept });
    expect(await closeStorage(hostDir)).toBe(true);
    const image = join(hostDir, 'pool.img');
    const device = execFileSync('losetup', ['--find', '--show', image], { encoding: 'utf8' }).trim();
    try {
      await openPool(hostDir, log);
      await openPool(hostDir, log);
      expect(execFileSync('losetup', ['-j', image], { encoding: 'utf8' }).trim().split('\n')).toHaveLength(1);
      expect((await (await openStore(hostDir, 'auto')).list()).map((volume) => volume.volumeId)).toEqual(['br-loop']);
      expect(await closeStorage(hostDir)).toBe(true);
    } finally {
      execFileSync('losetup', ['-d', device]);
    }
  });

  it('has small nodes and no free-space tree, also where an older one had', async () => {
    const hostDir = join(base, 'host-lean');
    const { path, imagePath } = poolPaths(hostDir);
    const superblock = (): string =>
      execFileSync('btrfs', ['inspect-internal', 'dump-super', imagePath], { encoding: 'utf8' });
    const store = await openStore(hostDir, 'btrfs');
    await store.create({ volumeId: 'br-lean', engine, owner: ownerOf(1), ...kept });
    expect(await closeStorage(hostDir)).toBe(true);
    expect(superblock()).toMatch(/^nodesize\s+4096$/m);
    expect(superblock()).toMatch(/^compat_ro_flags\s+0x0$/m);

    execFileSync('mount', ['-o', 'loop,space_cache=v2', imagePath, path]);
    execFileSync('umount', [path]);
    expect(superblock()).toContain('FREE_SPACE_TREE');
    for (let round = 0; round < 2; round += 1) {
      expect((await (await openStore(hostDir, 'auto')).list()).map((volume) => volume.volumeId)).toEqual(['br-lean']);
      expect(readFileSync('/proc/mounts', 'utf8')).toMatch(new RegExp(`${path} btrfs .*nospace_cache`));
      expect(await closeStorage(hostDir)).toBe(true);
      expect(superblock()).toMatch(/^compat_ro_flags\s+0x0$/m);
    }
    execFileSync('btrfs', ['check', '--readonly', imagePath], { stdio: 'ignore' });
  });

  it('runs no program and holds no device, even if it was mounted otherwise', async () => {
    const hostDir = join(base, 'host-safe');
    const path = join(hostDir, 'pool');
    const options = (): string =>
      execFileSync('findmnt', ['--noheadings', '--output', 'OPTIONS', path], { encoding: 'utf8' });
    const store = await openStore(hostDir, 'btrfs');
    expect(options()).toMatch(/nosuid,nodev,noexec,noatime/);
    const volume = await store.create({ volumeId: 'br-safe', engine, owner: ownerOf(1), ...kept });
    await withPostgres(volume, async () => {
      execFileSync('mount', ['-o', 'remount,exec,suid,dev', path]);
      expect(options()).not.toMatch(/noexec/);
      await openPool(hostDir, log);
      expect(options()).toMatch(/nosuid,nodev,noexec,noatime/);
    });
    await writeFile(join(path, 'program'), '#!/bin/sh\n', { mode: 0o755 });
    expect(() => execFileSync(join(path, 'program'))).toThrow(/EACCES/);
    expect(await closeStorage(hostDir)).toBe(true);
  });

  it('stays mounted while something uses it', async () => {
    const hostDir = join(base, 'host-busy');
    await openStore(hostDir, 'btrfs');
    const user = spawn('sleep', ['60'], { cwd: join(hostDir, 'pool'), stdio: 'ignore' });
    await once(user, 'spawn');
    expect(await closeStorage(hostDir)).toBe(false);
    user.kill('SIGKILL');
    await once(user, 'exit');
    expect(await closeStorage(hostDir)).toBe(true);
  });

  it('grows before it runs out of room, as long as its disk has some', async () => {
    const disk = await mountLoop('growing', ['mkfs.ext4', '-q'], 2048);
    const hostDir = join(disk, 'host');
    execFileSync('fallocate', ['-l', '1G', join(disk, 'other')]);
    const store = await openStore(hostDir, 'btrfs');
    const sizeOf = async (): Promise<number> => {
      const { blocks, bsize } = await statfs(join(hostDir, 'pool'));
      return blocks * bsize;
    };
    const first = await sizeOf();
    await store.keepRoom();
    expect(await sizeOf()).toBe(first);
    await fillWhile(join(hostDir, 'pool/filler'), async () => await store.keepRoom());
    const full = await sizeOf();
    expect(full).toBeGreaterThan(first);
    const { bavail, bsize, blocks } = await statfs(disk);
    expect(bavail, 'room left for WAL').toBeGreaterThan(blocks * 0.06);
    expect(blocks * bsize).toBeGreaterThan(full);
    await rm(join(disk, 'other'));
    await store.keepRoom();
    expect(await sizeOf()).toBeGreaterThan(full);
    expect(await closeStorage(hostDir)).toBe(true);
  });
});

/** Fills a filesystem that may grow meanwhile. */
async function fillWhile(path: string, grow: () => Promise<void>): Promise<string[]> {
  const fillers: string[] = [];
  for (let size = -1; ;) {
    const filler = `${path}-${fillers.length}`;
    fill(filler);
    fillers.push(filler);
    await grow();
    const { blocks, bsize } = await statfs(filler);
    if (blocks * bsize === size) return fillers;
    size = blocks * bsize;
  }
}

describe('a setting that cannot be had', () => {
  it('says why and what to do', async () => {
    const options = { hostDir: join(base, 'host-none'), isRoot: false, engineRunAs: null, adminVerifier, log };
    await expect(createVolumeStore({ ...options, setting: 'btrfs' })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringMatching(/^Cannot use storage btrfs: .*root/),
    });
  });
});

/** Makes one volume in a process of its own, started by `setpriv` with these flags. */
async function makeVolumeAs(flags: readonly string[], name: string, user: Volume['owner']): Promise<MadeVolume> {
  const home = join(base, name);
  await mkdir(home);
  if (user) await chown(home, user.uid, user.gid);
  const url = (path: string): string => new URL(path, import.meta.url).href;
  const [runAs, owner] = user ? [null, null] : [builder, ownerOf(1)];
  const script = `
    import { createEngineStore } from '${url('../engines/engine-store.ts')}';
    import { createVolumeStore } from '${url('./local-volume-store.ts')}';
    import { createLog } from '${url('../kernel/log.ts')}';
    import { Secret } from '${url('../kernel/secret.ts')}';
    const log = createLog('test', 'fatal');
    const runAs = ${JSON.stringify(runAs)};
    const engine = await createEngineStore({
      enginesDir: '${home}/engines', packagesDirs: ['${nodeModules}'], runAs, log,
    }).get(17);
    const store = await createVolumeStore({
      hostDir: '${home}/host', setting: 'auto', isRoot: ${runAs !== null}, engineRunAs: runAs, log,
      adminVerifier: new Secret('${adminVerifier.reveal()}'),
    });
    await store.recover();
    const volume = await store.create({ volumeId: 'br-mine', engine, owner: ${JSON.stringify(owner)}, historyRetentionSeconds: 60 });
    process.stdout.write(JSON.stringify({ backend: store.backend, volume }));
  `;
  const words = [...flags, process.execPath, '--input-type=module-typescript', '-e', script];
  return JSON.parse(execFileSync('setpriv', words, { encoding: 'utf8', cwd: home })) as MadeVolume;
}

interface MadeVolume {
  readonly backend: VolumeStore['backend'];
  readonly volume: Volume;
}

describe.runIf(isRoot)('with fewer rights', () => {
  it('without root, volumes belong to the user that runs Tenantry', async () => {
    const user = { uid: 65_534, gid: 65_534 };
    const flags = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
    const { backend, volume } = await makeVolumeAs(flags, 'nobody', user);
    expect(backend).toMatchObject({ name: 'copy', advice: expect.stringContaining('Run as root') });
    expect(volume).toMatchObject({ volumeId: 'br-mine', owner: null });
    await withPostgres({ ...volume, owner: user }, async (connect) => (await connect({ database: 'neondb' })).end());
  });

  it('as root that may not mount, as in a container, volumes are copies with owners of their own', async () => {
    const { backend, volume } = await makeVolumeAs(['--bounding-set', '-sys_admin'], 'container', null);
    expect(backend.name).toBe('copy');
    expect(await readdir(join(base, 'container/host'))).not.toContain('pool.img');
    expect((await stat(join(volume.dataPath, 'base'))).uid).toBe(ownerOf(1)?.uid);
    await withPostgres(volume, async (connect) => (await connect({ database: 'neondb' })).end());
  });
});
