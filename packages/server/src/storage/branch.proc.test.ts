import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Client } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createEngineStore } from '../engines/engine-store.ts';
import type { Engine } from '../engines/engine.ts';
import { createLog } from '../kernel/log.ts';
import { makeVerifier } from '../kernel/scram-verifier.ts';
import { Secret } from '../kernel/secret.ts';
import { type Lsn, parseLsn } from '../wal/lsn.ts';
import { timeUsOf } from './history/time-us.ts';
import { createVolumeStore } from './local-volume-store.ts';
import type { StorageSetting } from './open-backend.ts';
import { closeStorage } from './pool.ts';
import { type RunningPostgres, startPostgres } from './testing/running-postgres.ts';
import type { MomentRequest, VolumeStore } from './volume-store.ts';

const isRoot = process.getuid?.() === 0;
const nodeModules = fileURLToPath(new URL('../../../../node_modules', import.meta.url));
const log = createLog('test', 'warn');
const builder = isRoot ? { uid: 71_000, gid: 71_000 } : null;
const owner = isRoot ? { uid: 71_101, gid: 71_101 } : null;
const password = 'only-for-this-test';
const adminVerifier = new Secret(makeVerifier(password));
const historyRetentionSeconds = 86_400;
const head: MomentRequest = { kind: 'head' };
const SEGMENT = /^[0-9A-F]{24}$/;

let base = '';
let engine: Engine;
const mounts: string[] = [];

beforeAll(async () => {
  base = await mkdtemp('/tmp/tenantry-branch-');
  await chmod(base, 0o755);
  const stores = { enginesDir: join(base, 'engines'), packagesDirs: [nodeModules], runAs: builder, log };
  engine = await createEngineStore(stores).get(17);
});

afterAll(async () => {
  for (const path of mounts) execFileSync('umount', [path]);
  await rm(base, { recursive: true, force: true });
});

async function mountXfs(): Promise<string> {
  const image = join(base, 'xfs.img');
  const path = join(base, 'xfs');
  await writeFile(image, '');
  await truncate(image, 6 * 1024 ** 3);
  await mkdir(path);
  execFileSync('mkfs.xfs', ['-q', image]);
  execFileSync('mount', ['-o', 'loop', image, path]);
  mounts.push(path);
  await chmod(path, 0o755);
  return join(path, 'host');
}

const hasTool = (name: string): boolean => isRoot && existsSync(join('/usr/sbin', name));
const cases: { name: string; setting: StorageSetting; canRun: boolean; hostDir: () => Promise<string> }[] = [
  {
    name: 'btrfs pool',
    setting: 'btrfs',
    canRun: hasTool('mkfs.btrfs'),
    hostDir: () => Promise.resolve(join(base, 'pool')),
  },
  { name: 'XFS reflink', setting: 'reflink', canRun: hasTool('mkfs.xfs'), hostDir: mountXfs },
  { name: 'copy', setting: 'copy', canRun: true, hostDir: () => Promise.resolve(join(base, 'copy')) },
];

/** A moment in the life of a volume, as its client saw it: right after row `n` was committed. */
interface Mark {
  readonly n: number;
  readonly lsn: Lsn;
  readonly timeUs: number;
}

/** Writes numbered rows, each in a transaction with some ballast. */
class Writer {
  readonly marks: Mark[] = [];
  readonly #client: Client;
  n: number;

  constructor(client: Client, n: number) {
    this.#client = client;
    this.n = n;
  }

  static async on(postgres: RunningPostgres): Promise<Writer> {
    const client = await postgres.connect();
    await client.query('CREATE TABLE IF NOT EXISTS ledger (n int PRIMARY KEY, ballast text)');
    const { rows } = await client.query('SELECT coalesce(max(n), 0) AS n FROM ledger');
    return new Writer(client, rows[0].n);
  }

  async write(count: number, ballast = 100): Promise<Mark> {
    for (let i = 0; i < count; i += 1) {
      const n = this.n + 1;
      const filler = `(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, ${Math.ceil(ballast / 32)}))`;
      await this.#client.query(`INSERT INTO ledger VALUES ($1, ${filler})`, [n]);
      this.n = n;
      const { rows } = await this.#client.query(
        'SELECT pg_current_wal_lsn()::text AS lsn, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us',
      );
      this.marks.push({ n, lsn: parseLsn(rows[0].lsn) ?? 0n, timeUs: Number(rows[0].us) });
    }
    return this.marks.at(-1) ?? { n: 0, lsn: 0n, timeUs: 0 };
  }

  checkpoint(): Promise<unknown> {
    return this.#client.query('CHECKPOINT');
  }

  end(): Promise<void> {
    return this.#client.end();
  }
}

describe.each(cases.filter(({ canRun }) => canRun))('branches on $name', ({ setting, hostDir: makeHostDir }) => {
  let hostDir = '';
  let store: VolumeStore;

  const openStore = (): Promise<VolumeStore> =>
    createVolumeStore({ hostDir, setting, isRoot, engineRunAs: builder, adminVerifier, log });
  const root = (): string => (existsSync(join(hostDir, 'pool.img')) ? join(hostDir, 'pool') : hostDir);

  beforeAll(async () => {
    hostDir = await makeHostDir();
    store = await openStore();
    await store.recover();
  });

  afterAll(async () => {
    expect(await closeStorage(hostDir)).toBe(true);
  });

  /** What a failed test left running. */
  const awake = new Set<RunningPostgres>();
  afterEach(async () => {
    for (const running of awake) await running.kill();
    awake.clear();
    await deleteAll();
  });

  const create = (volumeId: string): Promise<unknown> =>
    store.create({ volumeId, engine, owner, historyRetentionSeconds });
  const branch = (
    volumeId: string,
    sourceId: string,
    at: MomentRequest,
    running?: RunningPostgres,
  ): Promise<{ lsn: Lsn; timeUs: number }> => branchWith(volumeId, sourceId, at, running);

  async function branchWith(
    volumeId: string,
    sourceId: string,
    at: MomentRequest,
    running: RunningPostgres | undefined,
  ): Promise<{ lsn: Lsn; timeUs: number }> {
    const backup = running && !store.backend.capabilities.atomicLiveSnapshot ? await running.openBackup() : undefined;
    try {
      return await store.branch({ volumeId, sourceId, at, owner, historyRetentionSeconds, backup });
    } finally {
      await backup?.close();
    }
  }

  async function start(volumeId: string): Promise<RunningPostgres> {
    const volume = await store.claim(volumeId);
    if (!volume) throw new Error('no volume');
    const running = await startPostgres({ engine, volume, socketBase: base, password });
    awake.add(running);
    const end = async (how: () => Promise<void>): Promise<void> => {
      await how();
      awake.delete(running);
      store.released(volumeId);
      await store.archive(volumeId);
    };
    return { ...running, stop: () => end(running.stop), kill: () => end(running.kill) };
  }

  /** The rows of a volume: started, read, checked for the integrity of its indexes, stopped. */
  async function rowsOf(volumeId: string): Promise<number[]> {
    const running = await start(volumeId);
    const client = await running.connect();
    const { rows } = await client.query('SELECT n FROM ledger ORDER BY n');
    await client.query('CREATE EXTENSION IF NOT EXISTS amcheck');
    await client.query(`SELECT bt_index_check('ledger_pkey', true), bt_index_check('pg_class_oid_index', true)`);
    await client.end();
    await running.stop();
    return rows.map(({ n }) => Number(n));
  }

  const upTo = (n: number): number[] => Array.from({ length: n }, (_, index) => index + 1);

  async function expectRows(volumeId: string, n: number): Promise<void> {
    expect(await rowsOf(volumeId)).toEqual(upTo(n));
  }

  async function deleteAll(): Promise<void> {
    for (const { volumeId } of await store.list()) await store.delete(volumeId);
    expect(await readdir(join(root(), 'points'))).toEqual([]);
    expect(await readdir(join(hostDir, 'wal'))).toEqual([]);
    expect(await readdir(join(hostDir, 'history'))).toEqual([]);
    for (const name of ['staging', 'trash']) expect(await readdir(join(root(), name))).toEqual([]);
  }

  it('from the head of a volume that never ran, and of that branch', async () => {
    await create('br-a');
    await branch('br-b', 'br-a', head);
    await branch('br-c', 'br-b', head);
    const running = await start('br-c');
    const writer = await Writer.on(running);
    await writer.write(5);
    await writer.end();
    await running.stop();
    await expectRows('br-c', 5);
    expect((await store.find('br-b'))?.needsPromotion).toBe(false);
  });

  it('from the head: stopped, running, crashed, and never started', async () => {
    await create('br-a');
    let running = await start('br-a');
    let writer = await Writer.on(running);
    await writer.write(10);
    await branch('br-running', 'br-a', head, running);
    await writer.write(10);
    await writer.end();
    await running.stop();
    await branch('br-stopped', 'br-a', head);
    await branch('br-again', 'br-a', head);
    expect((await readdir(join(root(), 'points'))).length).toBeLessThanOrEqual(1);
    running = await start('br-a');
    writer = await Writer.on(running);
    await writer.write(10);
    await running.kill();
    await branch('br-crashed', 'br-a', head);
    await branch('br-grandchild', 'br-crashed', head);
    await store.delete('br-a');
    await store.delete('br-crashed');
    await expectRows('br-running', 10);
    await expectRows('br-stopped', 20);
    await expectRows('br-again', 20);
    await expectRows('br-grandchild', 30);
  });

  it('from any LSN and time, over restarts, promotions and children of children', async () => {
    await create('br-a');
    let running = await start('br-a');
    let writer = await Writer.on(running);
    const marks: Mark[] = [];
    await writer.write(30);
    await writer.checkpoint();
    await store.makeRestorePoint('br-a', await backupOf(running));
    await writer.write(30);
    marks.push(...writer.marks);
    await writer.end();
    await running.stop();
    running = await start('br-a');
    writer = await Writer.on(running);
    await writer.write(30);
    marks.push(...writer.marks);
    let made = 0;
    for (const mark of [marks[2], marks[31], marks[58], marks[60], marks[89]]) {
      if (!mark) throw new Error('no mark');
      const byLsn = await branch(`br-lsn-${made}`, 'br-a', { kind: 'lsn', lsn: mark.lsn }, running);
      const byTime = await branch(`br-time-${made}`, 'br-a', { kind: 'time', timeUs: mark.timeUs }, running);
      expect(byLsn.lsn).toBeLessThanOrEqual(mark.lsn);
      expect(byLsn.timeUs).toBeLessThanOrEqual(mark.timeUs);
      expect(byTime.timeUs).toBe(mark.timeUs);
      await expectRows(`br-lsn-${made}`, mark.n);
      await expectRows(`br-time-${made}`, mark.n);
      made += 1;
    }
    await writer.end();
    await running.stop();

    // The child goes on by itself, on a timeline of its own.
    running = await start('br-lsn-1');
    writer = await Writer.on(running);
    expect(writer.n).toBe(32);
    await writer.write(20);
    await branch('br-child-head', 'br-lsn-1', head, running);
    const [, , , , mark] = writer.marks;
    if (!mark) throw new Error('no mark');
    await writer.end();
    await running.stop();
    await branch('br-child-time', 'br-lsn-1', { kind: 'time', timeUs: mark.timeUs });
    await branch('br-child-lsn', 'br-lsn-1', { kind: 'lsn', lsn: mark.lsn });
    // What was before it began is its parent's.
    const before = marks[10];
    if (!before) throw new Error('no mark');
    await branch('br-before-time', 'br-child-time', { kind: 'time', timeUs: before.timeUs });
    await branch('br-before-lsn', 'br-child-time', { kind: 'lsn', lsn: before.lsn });
    await expectRows('br-child-head', 52);
    await expectRows('br-child-time', 37);
    await expectRows('br-child-lsn', 37);
    await expectRows('br-before-time', 11);
    await expectRows('br-before-lsn', 11);
    await branch('br-third', 'br-child-time', head);
    await expectRows('br-third', 37);
    await store.delete('br-a');
    await expect(branch('br-gone', 'br-child-time', { kind: 'time', timeUs: before.timeUs })).rejects.toMatchObject({
      code: 'MOMENT_OUT_OF_HISTORY',
    });
    await expectRows('br-child-head', 52);
  });

  async function backupOf(
    running: RunningPostgres,
  ): Promise<Awaited<ReturnType<RunningPostgres['openBackup']>> | undefined> {
    return store.backend.capabilities.atomicLiveSnapshot ? undefined : running.openBackup();
  }

  // A point that is one snapshot has no moment between.
  it.skipIf(setting === 'btrfs')('from a time between the call for a restore point and its checkpoint', async () => {
    await create('br-a');
    const running = await start('br-a');
    const writer = await Writer.on(running);
    await writer.write(2);
    const backup = await running.openBackup();
    await store.makeRestorePoint('br-a', {
      start: async (label) => {
        await writer.write(3);
        await backup.start(label);
        await writer.write(2);
      },
      stop: () => backup.stop(),
      close: () => backup.close(),
    });
    await backup.close();
    await writer.write(1);
    await writer.end();
    const marks = writer.marks.filter(({ n }) => [2, 4, 6].includes(n));
    for (const { n, timeUs } of marks) await branch(`br-${n}`, 'br-a', { kind: 'time', timeUs }, running);
    await running.stop();
    for (const { n } of marks) await expectRows(`br-${n}`, n);
  });

  it('while it is written to, without a row too few or too many', async () => {
    await create('br-a');
    const running = await start('br-a');
    const writer = await Writer.on(running);
    const enough = new AbortController();
    const writing = (async () => {
      while (!enough.signal.aborted) await writer.write(1, 20_000);
    })();
    const bounds: { id: string; atLeast: number; atMost: number }[] = [];
    for (let i = 0; i < 4; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      if (i % 2 === 1) await writer.checkpoint();
      const atLeast = writer.n;
      await branch(`br-${i}`, 'br-a', head, running);
      bounds.push({ id: `br-${i}`, atLeast, atMost: writer.n + 1 });
      await store.makeRestorePoint('br-a', await backupOf(running));
    }
    enough.abort();
    await writing;
    const some = writer.marks.filter((_, index) => index % Math.ceil(writer.marks.length / 6) === 0);
    for (const [i, mark] of some.entries()) {
      await branch(`br-lsn-${i}`, 'br-a', { kind: 'lsn', lsn: mark.lsn }, running);
      await branch(`br-time-${i}`, 'br-a', { kind: 'time', timeUs: mark.timeUs }, running);
    }
    await running.stop();
    for (const { id, atLeast, atMost } of bounds) {
      const rows = await rowsOf(id);
      expect(rows).toEqual(upTo(rows.length));
      expect(rows.length).toBeGreaterThanOrEqual(atLeast);
      expect(rows.length).toBeLessThanOrEqual(atMost);
    }
    for (const [i, mark] of some.entries()) {
      await expectRows(`br-lsn-${i}`, mark.n);
      await expectRows(`br-time-${i}`, mark.n);
    }
  });

  it('refuses moments that are not in history, and says the window', async () => {
    await create('br-a');
    const created = Date.now();
    const running = await start('br-a');
    const writer = await Writer.on(running);
    const mark = await writer.write(3);
    await writer.end();
    await running.stop();
    const at = (timeUs: number): MomentRequest => ({ kind: 'time', timeUs });
    const refusal = (words: RegExp): object => ({
      code: 'MOMENT_OUT_OF_HISTORY',
      message: expect.stringMatching(words),
    });
    await expect(store.findMoment('br-a', at(timeUsOf(new Date()) + 60e6))).rejects.toMatchObject(
      refusal(/timestamp is in the future/),
    );
    await expect(store.findMoment('br-a', at((created - 3600_000) * 1000))).rejects.toMatchObject(
      refusal(/timestamp is before retention window/),
    );
    await expect(store.findMoment('br-a', { kind: 'lsn', lsn: 1n })).rejects.toMatchObject(
      refusal(/LSN is before retention window/),
    );
    await expect(store.findMoment('br-a', { kind: 'lsn', lsn: mark.lsn + 0x100_0000n })).rejects.toMatchObject(
      refusal(/LSN is in the future, the last one is 0\//),
    );
    await expect(store.findMoment('br-none', head)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    // Later than the last commit: the head.
    const now = timeUsOf(new Date());
    expect((await store.findMoment('br-a', at(now))).lsn).toBe((await store.findMoment('br-a', head)).lsn);
    await store.setHistoryRetention('br-a', 0);
    await expect(store.findMoment('br-a', at(now))).rejects.toMatchObject(refusal(/before retention window/));
    await expect(store.findMoment('br-a', { kind: 'lsn', lsn: mark.lsn - 1n })).rejects.toMatchObject(
      refusal(/before retention window/),
    );
    await branch('br-b', 'br-a', head);
    await expectRows('br-b', 3);
  });

  it('prunes what retention does not ask for, and breaks no branch by it', async () => {
    await create('br-a');
    const running = await start('br-a');
    const writer = await Writer.on(running);
    const old = await writer.write(5);
    await branch('br-old', 'br-a', { kind: 'lsn', lsn: old.lsn });
    for (let i = 0; i < 3; i += 1) {
      await writer.write(1, 20_000_000);
      await writer.checkpoint();
      await store.archive('br-a');
      await store.makeRestorePoint('br-a', await backupOf(running));
    }
    const mark = await writer.write(1);
    await writer.end();
    await running.stop();
    const segments = async (directory: string): Promise<number> =>
      (await readdir(directory)).filter((name) => SEGMENT.test(name)).length;
    const before = await segments(join(hostDir, 'history/br-a'));
    await store.setHistoryRetention('br-a', 0);
    await store.prune();
    await store.prune();
    expect(await segments(join(hostDir, 'history/br-a'))).toBeLessThan(before - 1);
    const volume = await store.find('br-a');
    expect(await segments(volume?.walPath ?? '')).toBeLessThanOrEqual(2);
    expect(await readdir(join(root(), 'points'))).toHaveLength(1);
    await store.setHistoryRetention('br-a', 3600);
    await expect(store.findMoment('br-a', { kind: 'lsn', lsn: old.lsn })).rejects.toMatchObject({
      code: 'MOMENT_OUT_OF_HISTORY',
    });
    await branch('br-new', 'br-a', { kind: 'lsn', lsn: mark.lsn });
    await expectRows('br-new', mark.n);
    await expectRows('br-old', 5);
    await expectRows('br-a', mark.n);
    const { oldest, newest } = await store.history('br-a');
    expect(oldest.lsn).toBeLessThanOrEqual(newest.lsn);
  });

  it('is one volume, however often it is asked for', async () => {
    await create('br-a');
    const running = await start('br-a');
    const writer = await Writer.on(running);
    await writer.write(3);
    await writer.end();
    await running.stop();
    const moments = await Promise.all([1, 2, 3].map(() => branch('br-b', 'br-a', head)));
    expect(new Set(moments.map(({ lsn }) => lsn)).size).toBe(1);
    const many = Array.from({ length: 8 }, (_, n) => `br-many-${n}`);
    const works = many.map((id) => branch(id, 'br-a', head));
    const deletion = store.delete('br-a');
    const outcomes = await Promise.allSettled(works);
    await deletion;
    for (const [n, outcome] of outcomes.entries()) {
      if (outcome.status === 'fulfilled') await expectRows(many[n] ?? '', 3);
      else expect(outcome.reason).toMatchObject({ code: 'NOT_FOUND' });
    }
  });

  it('begins the history of a volume that has none', async () => {
    await create('br-a');
    const running = await start('br-a');
    const writer = await Writer.on(running);
    await writer.write(3);
    await rm(join(hostDir, 'history/br-a'), { recursive: true });
    store = await openStore();
    await store.recover();
    await store.claim('br-a');
    await store.archive('br-a');
    expect((await stat(join(hostDir, 'history/br-a'))).mode & 0o777).toBe(0o700);
    await branch('br-b', 'br-a', head, running);
    const mark = await writer.write(3);
    await branch('br-c', 'br-a', { kind: 'lsn', lsn: mark.lsn }, running);
    await writer.end();
    await running.stop();
    await expectRows('br-b', 3);
    await expectRows('br-c', 6);
  });
});
