import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, lstatSync } from 'node:fs';
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isNoSpace } from '../../kernel/errors.ts';
import { createLog } from '../../kernel/log.ts';
import { openBackend, type StorageSetting } from '../open-backend.ts';
import { closeStorage } from '../pool.ts';
import type { StorageBackend } from './backend.ts';
import { Disks, hasTool, hasZfs, isRoot } from './testing/disks.ts';
import { describeTree, makeSampleTree } from './testing/sample-tree.ts';

const MB = 1_000_000;
const DISK_BYTES = 1000 * MB;
const log = createLog('test', 'fatal');
const owner = isRoot ? { uid: 72_001, gid: 72_001 } : null;
const other = isRoot ? { uid: 72_002, gid: 72_002 } : null;

let base = '';
let disks: Disks;

interface Case {
  readonly name: string;
  readonly setting: StorageSetting;
  readonly canRun: boolean;
  /** A disk of its own, which may be filled; undefined without root. */
  readonly disk: () => Promise<string | undefined>;
}

const ext4 = (name: string) => () => disks.mount(name, ['mkfs.ext4', '-q'], DISK_BYTES);
const ZFS = 'zfs';

const cases: readonly Case[] = [
  {
    name: 'btrfs itself',
    setting: 'btrfs',
    canRun: isRoot && hasTool('mkfs.btrfs'),
    disk: () => disks.mount('btrfs', ['mkfs.btrfs', '-q'], DISK_BYTES),
  },
  { name: 'btrfs pool', setting: 'btrfs', canRun: isRoot && hasTool('mkfs.btrfs'), disk: ext4('btrfs-pool') },
  {
    name: 'XFS with reflinks',
    setting: 'reflink',
    canRun: isRoot && hasTool('mkfs.xfs'),
    disk: () => disks.mount('xfs', ['mkfs.xfs', '-q'], DISK_BYTES),
  },
  { name: 'XFS pool', setting: 'reflink', canRun: isRoot && hasTool('mkfs.xfs'), disk: ext4('xfs-pool') },
  { name: ZFS, setting: 'zfs', canRun: hasZfs(), disk: () => disks.mountZfs('zfs', DISK_BYTES) },
  {
    name: 'copy',
    setting: 'copy',
    canRun: true,
    disk: async () => (isRoot ? await ext4('copy')() : undefined),
  },
];

beforeAll(async () => {
  base = await mkdtemp('/tmp/tenantry-backends-');
  await chmod(base, 0o755);
  disks = new Disks(base);
});

afterAll(async () => {
  disks.unmountAll();
  await rm(base, { recursive: true, force: true });
  if (process.platform === 'linux') expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(base);
});

for (const { name } of cases.filter(({ canRun }) => !canRun)) {
  const why =
    name === ZFS ? 'this machine has no ZFS (zpool list fails)' : 'needs root and the filesystem its mkfs makes';
  it.skip(`the ${name} backend: ${why}`, () => {});
}

describe.each(cases.filter(({ canRun }) => canRun))('the backend on $name', ({ setting, disk: makeDisk }) => {
  let disk: string | undefined;
  let hostDir = '';
  let backend: StorageBackend;
  let count = 0;
  const newPath = (): string => join(backend.root, 'volumes', `tree-${(count += 1)}`);
  const trees = (): Promise<string[]> => readdir(join(backend.root, 'volumes'));
  const openAgain = (): Promise<StorageBackend> => openBackend({ hostDir, setting, isRoot, log });

  /** ZFS tells of a directory's own dataset what it uses, but of the whole pool what is free. */
  async function freeBytes(): Promise<number> {
    if (backend.info.name === 'btrfs') {
      // The first sync wakes the cleaner, the second waits for it, the third commits what it did.
      execFileSync('btrfs', ['filesystem', 'sync', backend.root]);
      execFileSync('btrfs', ['subvolume', 'sync', '-s', '1', backend.root], { stdio: 'ignore' });
    }
    execFileSync('sync', ['-f', backend.root]);
    const { bfree, bsize } = await statfs(backend.root);
    return bfree * bsize;
  }

  async function makeTree(bytes: number): Promise<string> {
    const path = newPath();
    await backend.createTree(path);
    await mkdir(`${path}/data`, { mode: 0o700 });
    await using file = await open(`${path}/data/content`, 'w');
    for (let at = 0; at < bytes; at += MB) await file.write(randomBytes(Math.min(MB, bytes - at)));
    await file.sync();
    return path;
  }

  beforeAll(async () => {
    disk = await makeDisk();
    hostDir = join(disk ?? base, 'host');
    await mkdir(hostDir, { mode: 0o711 });
    backend = await openAgain();
    for (const name of ['volumes', 'staging']) await mkdir(join(backend.root, name), { mode: 0o711 });
  });

  afterAll(async () => {
    if (!backend) return;
    const left = await trees();
    expect(await closeStorage(hostDir)).toBe(true);
    expect(left).toEqual([]);
  });

  it('clones a tree as it is: bytes, modes, owners, links, and holes', async () => {
    const source = newPath();
    const clone = newPath();
    await makeSampleTree(backend, source, owner);
    await backend.cloneTree(source, clone, owner);
    await backend.settleTree(clone);
    expect(await describeTree(clone)).toEqual(await describeTree(source));
    for (const path of [source, clone]) expect(lstatSync(`${path}/data/hole`).blocks * 512).toBeLessThan(MB);
    const running = newPath();
    await backend.cloneRunningTree(source, running, owner);
    expect(await describeTree(running)).toEqual(await describeTree(source));
    for (const path of [source, clone, running]) await backend.removeTree(path);
  });

  it('gives a sealed tree to whoever a clone is for, and to nobody else', async () => {
    const source = newPath();
    const clone = newPath();
    await makeSampleTree(backend, source, owner);
    await backend.sealTree(source);
    await backend.cloneTree(source, clone, other);
    const { mode, uid } = await stat(`${clone}/data`);
    expect([mode & 0o777, uid]).toEqual([0o700, other?.uid ?? process.getuid?.()]);
    if (owner && other) {
      const append = (user: typeof owner): void => {
        const ids = ['--reuid', `${user.uid}`, '--regid', `${user.gid}`, '--clear-groups'];
        execFileSync('setpriv', [...ids, 'sh', '-c', 'echo more >> "$0"', `${clone}/data/base/1/7`], {
          stdio: 'ignore',
        });
      };
      append(other);
      expect(() => append(owner)).toThrow();
    }
    for (const path of [source, clone]) await backend.removeTree(path);
  });

  it('keeps what is written to a tree from its clones, and what is written to them from it', async () => {
    const source = await makeTree(2 * MB);
    const clone = newPath();
    await backend.cloneTree(source, clone, owner);
    const before = await describeTree(clone);
    await appendFile(`${source}/data/content`, 'of the source');
    await writeFile(`${source}/data/new`, 'of the source');
    expect(await describeTree(clone)).toEqual(before);
    const sourceBefore = await describeTree(source);
    await overwritePage(`${clone}/data/content`);
    await rm(`${clone}/data/new`, { force: true });
    await writeFile(`${clone}/data/other`, 'of the clone');
    expect(await describeTree(source)).toEqual(sourceBefore);
    await backend.removeTree(source);
    expect(await readFile(`${clone}/data/other`, 'utf8')).toBe('of the clone');
    await backend.removeTree(clone);
  });

  it('clones clones, 20 deep, each of which outlives all that it came from', async () => {
    const chain = [await makeTree(MB)];
    for (let depth = 1; depth <= 20; depth += 1) {
      const next = newPath();
      await backend.cloneTree(chain.at(-1) ?? '', next, owner);
      await writeFile(`${next}/data/depth-${depth}`, randomBytes(5000));
      chain.push(next);
    }
    const last = chain.pop() ?? '';
    const before = await describeTree(last);
    expect(before).toHaveLength(22);
    // From the middle to the ends: parents before children and children before parents.
    for (const path of chain.sort((a, b) => Math.abs(chain.indexOf(a) - 10) - Math.abs(chain.indexOf(b) - 10))) {
      await backend.removeTree(path);
    }
    expect(await trees()).toHaveLength(1);
    expect(await describeTree(last)).toEqual(before);
    await backend.removeTree(last);
  });

  it('follows a tree that is renamed, alone or with the directory that holds it', async () => {
    const source = await makeTree(MB);
    const clone = join(backend.root, 'staging/tree');
    await backend.cloneTree(source, clone, owner);
    const before = await describeTree(clone);
    const moved = newPath();
    await rename(clone, moved);
    expect(await describeTree(moved)).toEqual(before);
    await backend.cloneTree(moved, clone, owner);
    await backend.removeTree(moved);
    await backend.removeTree(source);
    await mkdir(join(backend.root, 'staging/holder'));
    await backend.cloneTree(clone, join(backend.root, 'staging/holder/tree'), owner);
    await backend.removeTree(clone);
    await rename(join(backend.root, 'staging/holder'), join(backend.root, 'volumes/holder'));
    expect(await describeTree(join(backend.root, 'volumes/holder/tree'))).toEqual(before);
    await backend.removeTree(join(backend.root, 'volumes/holder'));
    expect(await readdir(join(backend.root, 'staging'))).toEqual([]);
  });

  it('removes a tree once or twice, and gives its space back', async () => {
    const before = await freeBytes();
    const source = await makeTree(64 * MB);
    const clone = newPath();
    await backend.cloneTree(source, clone, owner);
    await waitUntil('the space is taken', async () => (await freeBytes()) < before - 60 * MB);
    await Promise.all([source, clone].map((path) => backend.removeTree(path)));
    for (const path of [source, clone, newPath()]) await backend.removeTree(path);
    await waitUntil('the space is free', async () => (await freeBytes()) > before - 4 * MB);
  });

  it('makes and removes many trees at once', async () => {
    const source = await makeTree(MB);
    const before = await describeTree(source);
    const clones = Array.from({ length: 24 }, newPath);
    await Promise.all(clones.map((path) => backend.cloneTree(source, path, null)));
    for (const path of clones) expect((await describeTree(path))[1]).toBe(before[1]);
    await Promise.all([source, ...clones].map((path) => backend.removeTree(path)));
    expect(await trees()).toEqual([]);
  });

  it('removes what a kill left half made', async () => {
    const source = newPath();
    await makeSampleTree(backend, source, owner);
    const before = await describeTree(source);
    for (let n = 0; n < 8; n += 1) {
      const target = newPath();
      const child = startCloning(hostDir, setting, source, target);
      await once(child.stdout ?? child, 'data');
      await new Promise((resolve) => setTimeout(resolve, n * 10));
      child.kill('SIGKILL');
      await once(child, 'exit');
      const again = await openAgain();
      await again.removeTree(target);
      expect(existsSync(target)).toBe(false);
      await again.cloneTree(source, target, owner);
      expect(await describeTree(target)).toEqual(before);
      await again.removeTree(target);
    }
    await backend.removeTree(source);
    expect(await trees()).toEqual([]);
  });

  it('says what a tree owns', async () => {
    // ZFS counts what it has written, some seconds late.
    const measured = (path: string, fromBytes: number): Promise<void> =>
      waitUntil('the space is counted', async () => (await backend.measureTree(path)).exclusiveBytes > fromBytes);
    const source = await makeTree(20 * MB);
    await measured(source, 19 * MB);
    const { exclusiveBytes: alone, sharedBytes: sharedAlone } = await backend.measureTree(source);
    expect(alone).toBeLessThan(22 * MB);
    expect(sharedAlone ?? 0).toBe(0);
    const clone = newPath();
    await backend.cloneTree(source, clone, owner);
    await writeFile(`${clone}/data/own`, randomBytes(8 * MB));
    execFileSync('sync', ['-f', backend.root]);
    await measured(clone, 7 * MB);
    const { exclusiveBytes, sharedBytes } = await backend.measureTree(clone);
    if (sharedBytes !== null) {
      expect(exclusiveBytes + sharedBytes).toBeGreaterThan(27 * MB);
      expect(exclusiveBytes + sharedBytes).toBeLessThan(31 * MB);
    }
    for (const path of [source, clone]) await backend.removeTree(path);
  });

  it('shares the blocks of a clone, if it claims to', async () => {
    if (!backend.info.capabilities.cowClone) return;
    const source = await makeTree(200 * MB);
    const before = await freeBytes();
    const clone = newPath();
    await backend.cloneTree(source, clone, owner);
    expect(before - (await freeBytes())).toBeLessThan(5 * MB);
    const { exclusiveBytes, sharedBytes } = await backend.measureTree(clone);
    if (sharedBytes !== null) {
      expect(exclusiveBytes).toBeLessThan(5 * MB);
      expect(sharedBytes).toBeGreaterThan(195 * MB);
    }
    for (const path of [source, clone]) await backend.removeTree(path);
  });

  it('clones one moment of a tree that is written to, if it claims to', async () => {
    if (!backend.info.capabilities.atomicLiveSnapshot) return;
    const source = await makeTree(MB);
    const writer = startWriter(`${source}/data`);
    try {
      await once(writer.stdout ?? writer, 'data');
      const moments: number[] = [];
      for (let n = 0; n < 50; n += 1) {
        const clone = newPath();
        await backend.cloneRunningTree(source, clone, null);
        const first = Number(await readFile(`${clone}/data/first`, 'utf8'));
        const second = Number(await readFile(`${clone}/data/second`, 'utf8'));
        // What was durable before a later write began is there if that is. (A write that nobody synced may be missing,
        // as after a crash of the machine: on btrfs `second` can be several behind.)
        expect(second).toBeLessThanOrEqual(first);
        moments.push(first);
        await backend.removeTree(clone);
      }
      expect(new Set(moments).size).toBeGreaterThan(10);
      expect(moments).toEqual(moments.toSorted((a, b) => a - b));
    } finally {
      writer.kill('SIGKILL');
      await once(writer, 'exit');
    }
    await backend.removeTree(source);
  });

  it('says that the disk is full, leaves nothing half made, and works again once there is room', async () => {
    if (!disk) return;
    const source = newPath();
    await makeSampleTree(backend, source, owner);
    const before = await describeTree(source);
    const filler = join(backend.root, 'filler');
    await fill(filler);
    const made: string[] = [];
    for (let n = 0; n < 60; n += 1) {
      const target = newPath();
      const error: unknown = await backend.cloneTree(source, target, owner).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error === undefined) {
        made.push(target);
        continue;
      }
      expect({ error, isNoSpace: isNoSpace(error) }).toMatchObject({ isNoSpace: true });
      await backend.removeTree(target);
      expect(existsSync(target)).toBe(false);
      break;
    }
    if (!backend.info.capabilities.cowClone) expect(made.length).toBeLessThan(60);
    for (const path of made) expect(await describeTree(path)).toEqual(before);
    await rm(filler);
    for (const path of made) await backend.removeTree(path);
    const clone = newPath();
    await waitUntil('there is room again', async () => (await statfs(backend.root)).bavail > 10_000);
    await backend.cloneTree(source, clone, owner);
    expect(await describeTree(clone)).toEqual(before);
    for (const path of [source, clone]) await backend.removeTree(path);
    expect(await trees()).toEqual([]);
  }, 300_000);
});

async function overwritePage(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(Buffer.alloc(8192, 1), 0, 8192, 8192);
  await file.sync();
}

async function waitUntil(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + 60_000;
  while (!(await isTrue())) {
    if (performance.now() > untilMs) throw new Error(`Not within a minute: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Takes all of a disk: by pieces, because btrfs promises more than it then gives at once; ZFS cannot promise. */
async function fill(path: string): Promise<void> {
  await using file = await open(path, 'w');
  for (const pieceBytes of [8 * MB, MB]) {
    const piece = randomBytes(pieceBytes);
    try {
      for (;;) {
        await file.write(piece);
        await file.datasync();
      }
    } catch (error) {
      if (!isNoSpace(error)) throw error;
    }
  }
}

/** A process that clones, says so, and is to be killed. */
function startCloning(hostDir: string, setting: StorageSetting, source: string, target: string): ChildProcess {
  const url = (path: string): string => new URL(path, import.meta.url).href;
  const script = `
    import { openBackend } from '${url('../open-backend.ts')}';
    import { createLog } from '${url('../../kernel/log.ts')}';
    const options = ${JSON.stringify({ hostDir, setting, isRoot })};
    const backend = await openBackend({ ...options, log: createLog('test', 'fatal') });
    process.stdout.write('cloning');
    await backend.cloneTree(${JSON.stringify(source)}, ${JSON.stringify(target)}, ${JSON.stringify(owner)});
    setInterval(() => {}, 1000);
  `;
  return spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** A process that raises the number in one file, makes that durable, then raises it in a second: as Postgres does. */
function startWriter(directory: string): ChildProcess {
  const script = `
    const { fsyncSync, openSync, writeSync } = require('node:fs');
    const [first, second] = ['first', 'second'].map((name) => openSync(process.argv[1] + '/' + name, 'w'));
    for (let n = 1; ; n += 1) {
      const text = String(n).padStart(12, '0');
      writeSync(first, text, 0);
      fsyncSync(first);
      writeSync(second, text, 0);
      if (n === 1) writeSync(1, 'writing');
    }
  `;
  return spawn(process.execPath, ['-e', script, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
}
