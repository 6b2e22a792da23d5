import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { chmod, lstat, mkdtemp, readdir, readFile, readlink, rm, statfs, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEngineStore } from '../../engines/engine-store.ts';
import type { Engine } from '../../engines/engine.ts';
import { must } from '../../kernel/assert.ts';
import { createLog } from '../../kernel/log.ts';
import { makeVerifier } from '../../kernel/scram-verifier.ts';
import { Secret } from '../../kernel/secret.ts';
import { Disks, hasTool, isRoot } from '../backends/testing/disks.ts';
import { createVolumeStore } from '../local-volume-store.ts';
import { closeStorage } from '../pool.ts';
import { startPostgres } from '../testing/running-postgres.ts';
import type { Volume, VolumeStore } from '../volume-store.ts';
import { listTree } from '../walk-tree.ts';

const nodeModules = fileURLToPath(new URL('../../../../../node_modules', import.meta.url));
const log = createLog('test', 'error');
const builder = isRoot ? { uid: 71_000, gid: 71_000 } : null;
const owner = isRoot ? { uid: 71_301, gid: 71_301 } : null;
const password = 'only-for-this-test';
const head = { kind: 'head' } as const;
const settings = isRoot && hasTool('mkfs.btrfs') ? (['btrfs', 'copy'] as const) : (['copy'] as const);
const ROWS = 60_000;

let base = '';
let engine: Engine;
let disks: Disks;

beforeAll(async () => {
  base = await mkdtemp('/tmp/tenantry-archive-');
  await chmod(base, 0o755);
  disks = new Disks(base);
  const stores = { enginesDir: join(base, 'engines'), packagesDirs: [nodeModules], runAs: builder, log };
  engine = await createEngineStore(stores).get(17);
});

afterAll(async () => {
  if (isRoot) for (const name of await readdir(base)) await closeStorage(join(base, name));
  disks.unmountAll();
  await rm(base, { recursive: true, force: true });
});

async function openStore(hostDir: string, setting: 'btrfs' | 'copy'): Promise<VolumeStore> {
  const adminVerifier = new Secret(makeVerifier(password));
  const store = await createVolumeStore({ hostDir, setting, isRoot, engineRunAs: builder, adminVerifier, log });
  await store.recover();
  return store;
}

/** Runs SQL in a life of its own, cleanly stopped. */
async function run(store: VolumeStore, volumeId: string, sql: string): Promise<string> {
  const volume = must(await store.claim(volumeId));
  const postgres = await startPostgres({ engine, volume, socketBase: base, password });
  const client = await postgres.connect();
  const results = [await client.query(sql)].flat();
  await client.end();
  await postgres.stop();
  store.released(volumeId);
  await store.archive(volumeId);
  return String(Object.values(results.at(-1)?.rows[0] ?? {})[0]);
}

const FILL = `CREATE TABLE t AS SELECT n, repeat(md5(n::text), 10) AS filler FROM generate_series(1, ${ROWS}) n`;
const SUM = `SELECT count(*) || ' ' || sum(hashtext(n || filler)) FROM t`;

/** All that there is of every file of a volume: a line each. */
async function printOf({ dataPath, walPath }: Volume, isWalWhole = false): Promise<string[]> {
  const lines: string[] = [];
  for (const root of [dataPath, walPath]) {
    for (const { path, kind } of await listTree(root)) {
      if (root === walPath && !isWalWhole && kind === 'file') continue;
      const from = join(root, path);
      const { mode, uid, gid, size } = await lstat(from);
      const content = kind === 'file' ? await readFile(from) : kind === 'link' ? await readlink(from) : '';
      const hash = createHash('sha256').update(content).digest('hex');
      lines.push([path, kind, mode, uid, gid, kind === 'file' ? size : 0, hash].join(' '));
    }
  }
  return lines.sort();
}

async function expectNothingLeft(hostDir: string, setting: string, archived: readonly string[]): Promise<void> {
  const root = setting === 'btrfs' ? join(hostDir, 'pool') : hostDir;
  for (const name of ['staging', 'trash']) expect(await readdir(join(root, name))).toEqual([]);
  expect(await readdir(join(hostDir, 'archive'))).toEqual([...archived]);
  for (const volumeId of archived) {
    expect(await readdir(join(hostDir, 'wal'))).not.toContain(volumeId);
    expect(await readdir(join(root, 'volumes'))).not.toContain(volumeId);
    expect(await readdir(join(hostDir, 'history', volumeId))).toEqual(['lineage.json']);
    const points = (await readdir(join(root, 'points'))).filter((name) => name.startsWith(`${volumeId}.`));
    expect(points).toEqual([]);
  }
}

describe.each(settings)('an archived volume (%s)', (setting) => {
  const common = { owner, historyRetentionSeconds: 0 };
  let hostDir = '';
  let store: VolumeStore;
  beforeAll(async () => {
    hostDir = join(base, `host-${setting}`);
    store = await openStore(hostDir, setting);
  });

  it('comes back byte for byte, and has taken less meanwhile', async () => {
    await store.create({ volumeId: 'br-a', engine, ...common });
    await run(store, 'br-a', FILL);
    const sum = await run(store, 'br-a', SUM);
    await store.makeRestorePoint('br-a', undefined);
    await store.prune();
    const volume = must(await store.find('br-a'));
    const before = await printOf(volume, true);
    const size = (await store.usage('br-a')).logicalBytes;

    expect(await store.archiveVolume('br-a')).toBe(true);
    expect(await store.archiveVolume('br-a')).toBe(true);
    expect(await store.find('br-a')).toMatchObject({ isArchived: true, needsPromotion: false });
    expect(await store.listArchived()).toEqual(['br-a']);
    const usage = await store.usage('br-a');
    expect(usage.logicalBytes).toBe(size);
    expect(usage.exclusiveBytes).toBeLessThan(size / 3);
    await expectNothingLeft(hostDir, setting, ['br-a']);
    const again = await openStore(hostDir, setting);
    expect(await again.listArchived()).toEqual(['br-a']);
    const { oldest, newest } = await again.history('br-a');
    expect(oldest.lsn).toBe(newest.lsn);
    await again.setHistoryRetention('br-a', 3600);

    store = again;
    await store.bringBack('br-a');
    expect(await store.find('br-a')).not.toHaveProperty('isArchived');
    expect(await printOf(volume, true)).toEqual(before);
    await expectNothingLeft(hostDir, setting, []);
    // On what has copy-on-write the past has a point at once.
    if (setting === 'btrfs') expect((await store.findMoment('br-a', head)).lsn).toBe(newest.lsn);
    expect(await run(store, 'br-a', SUM)).toBe(sum);
    await store.delete('br-a');
  });

  it('comes back for a claim, for ten at once, and for a branch of it', async () => {
    await store.create({ volumeId: 'br-b', engine, ...common });
    await run(store, 'br-b', FILL);
    const sum = await run(store, 'br-b', SUM);
    expect(await store.archiveVolume('br-b')).toBe(true);
    const claims = await Promise.all(Array.from({ length: 10 }, () => store.claim('br-b')));
    expect(new Set(claims.map((claim) => claim?.isArchived))).toEqual(new Set([undefined]));
    expect(await store.archiveVolume('br-b')).toBe(false);
    store.released('br-b');
    expect(await run(store, 'br-b', SUM)).toBe(sum);

    expect(await store.archiveVolume('br-b')).toBe(true);
    await store.branch({ volumeId: 'br-c', sourceId: 'br-b', at: head, backup: undefined, ...common });
    expect(await store.listArchived()).toEqual([]);
    expect(await run(store, 'br-c', SUM)).toBe(sum);
    await store.delete('br-c');

    expect(await store.archiveVolume('br-b')).toBe(true);
    await store.delete('br-b');
    expect(await store.find('br-b')).toBeUndefined();
    await expectNothingLeft(hostDir, setting, []);
    expect(await readdir(join(hostDir, 'history'))).toEqual([]);
  });

  it('is given up for a claim or a deletion in the midst of it', async () => {
    await store.create({ volumeId: 'br-i', engine, ...common });
    await run(store, 'br-i', FILL);
    const sum = await run(store, 'br-i', SUM);
    for (const ms of [0, 20, 100, 400]) {
      const archiving = store.archiveVolume('br-i');
      await delay(ms);
      expect(await store.claim('br-i')).toBeDefined();
      await archiving;
      expect(await store.listArchived()).toEqual([]);
      store.released('br-i');
      expect(await run(store, 'br-i', SUM)).toBe(sum);
      await expectNothingLeft(hostDir, setting, []);
    }
    const archiving = store.archiveVolume('br-i');
    await delay(100);
    await store.delete('br-i');
    await archiving;
    expect([await store.find('br-i'), await readdir(join(hostDir, 'wal'))]).toEqual([undefined, []]);
    await expectNothingLeft(hostDir, setting, []);
  });

  it('stays as it is while its history is young, and where it would take more', async () => {
    await store.create({ volumeId: 'br-d', engine, owner, historyRetentionSeconds: 3600 });
    await run(store, 'br-d', FILL);
    expect(await store.archiveVolume('br-d')).toBe(false);
    await store.setHistoryRetention('br-d', 0);
    // Where blocks are shared, what has hardly been written is the template's.
    await store.create({ volumeId: 'br-e', engine, ...common });
    await run(store, 'br-e', 'SELECT 1');
    const before = await printOf(must(await store.find('br-e')));
    expect(await store.archiveVolume('br-e')).toBe(setting === 'copy');
    await store.bringBack('br-e');
    expect(await printOf(must(await store.find('br-e')))).toEqual(before);
    await store.delete('br-e');
    await store.delete('br-d');
  });

  it('may be a clone that was never started', async () => {
    await store.create({ volumeId: 'br-f', engine, ...common });
    await run(store, 'br-f', FILL);
    await store.makeRestorePoint('br-f', undefined);
    const { lsn } = await store.findMoment('br-f', head);
    await run(store, 'br-f', `INSERT INTO t SELECT n, 'later' FROM generate_series(1, 1000) n`);
    await store.setHistoryRetention('br-f', 3600);
    const at = { kind: 'lsn', lsn: (await store.findMoment('br-f', head)).lsn - 10_000n } as const;
    await store.branch({ volumeId: 'br-g', sourceId: 'br-f', at, backup: undefined, ...common });
    const volume = must(await store.find('br-g'));
    expect([volume.needsPromotion, at.lsn > lsn]).toEqual([true, true]);
    // What it shares with its parent is its own once the parent is gone.
    await store.delete('br-f');
    const before = await printOf(volume);
    if (!(await store.archiveVolume('br-g'))) return expect(setting).toBe('btrfs');
    expect(await store.find('br-g')).toMatchObject({ isArchived: true, needsPromotion: true });
    await store.branch({ volumeId: 'br-h', sourceId: 'br-g', at: head, backup: undefined, ...common });
    expect(await printOf(volume)).toEqual(before);
    const sums = [await run(store, 'br-g', SUM), await run(store, 'br-h', SUM)];
    expect(sums[0]).toBe(sums[1]);
    for (const id of ['br-g', 'br-h']) await store.delete(id);
  });

  it('is whole, here or there, after kill -9 at any moment', async () => {
    const killedDir = join(base, `killed-${setting}`);
    let killed = await openStore(killedDir, setting);
    await killed.create({ volumeId: 'br-k', engine, ...common });
    await run(killed, 'br-k', FILL);
    await killed.prune();
    const volume = must(await killed.find('br-k'));
    const before = await printOf(volume);
    const seen = { archived: 0, live: 0 };
    for (let round = 0; round < 6; round += 1) {
      await killAfter(churn(killedDir, setting), randomInt(0, 1500));
      killed = await openStore(killedDir, setting);
      const archived = await killed.listArchived();
      seen[archived.length > 0 ? 'archived' : 'live'] += 1;
      expect(await killed.find('br-k')).toBeDefined();
      await expectNothingLeft(killedDir, setting, archived);
      await killed.bringBack('br-k');
      expect(await printOf(volume)).toEqual(before);
    }
    console.log(`${setting}: found after kill -9`, seen);
    expect(await run(killed, 'br-k', SUM)).toMatch(new RegExp(`^${ROWS} `));
  });
});

const url = (path: string): string => new URL(path, import.meta.url).href;

/** A process that archives a volume and brings it back, until it is killed. */
const churn = (hostDir: string, setting: string): string => `
  import { createVolumeStore } from '${url('../local-volume-store.ts')}';
  import { createLog } from '${url('../../kernel/log.ts')}';
  import { Secret } from '${url('../../kernel/secret.ts')}';
  const store = await createVolumeStore({
    hostDir: '${hostDir}', setting: '${setting}', isRoot: ${isRoot}, engineRunAs: ${JSON.stringify(builder)},
    log: createLog('test', 'error'), adminVerifier: new Secret('unused'),
  });
  await store.recover();
  console.log('ready');
  for (;;) {
    if (!(await store.archiveVolume('br-k'))) throw new Error('not archived');
    await store.bringBack('br-k');
  }
`;

async function killAfter(script: string, ms: number): Promise<void> {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  await once(must(child.stdout), 'data');
  await delay(ms);
  child.kill('SIGKILL');
  const [, signal] = await exited;
  expect(signal, 'it ran until it was killed').toBe('SIGKILL');
}

describe.skipIf(!isRoot)('on a full disk', () => {
  it('an archived volume stays archived, and comes back once there is room', async () => {
    const path = await disks.mount('small', ['mkfs.ext4', '-q'], 600 * 1024 ** 2);
    const hostDir = join(path, 'host');
    const store = await openStore(hostDir, 'copy');
    await store.create({ volumeId: 'br-s', engine, owner, historyRetentionSeconds: 0 });
    await run(store, 'br-s', FILL);
    const sum = await run(store, 'br-s', SUM);
    expect(await store.archiveVolume('br-s')).toBe(true);
    const filler = join(path, 'filler');
    const { bavail, bsize } = await statfs(path);
    await writeFile(filler, '');
    for (const left of [16, 40]) {
      await truncate(filler, 0);
      execFileSync('fallocate', ['-l', String(bavail * bsize - left * 1024 ** 2), filler]);
      await expect(store.claim('br-s')).rejects.toMatchObject({ code: 'NO_SPACE' });
      expect(await store.listArchived()).toEqual(['br-s']);
      await expectNothingLeft(hostDir, 'copy', ['br-s']);
    }
    await rm(filler);
    expect(await run(store, 'br-s', SUM)).toBe(sum);
  });
});
