import { randomBytes } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, readlink, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { ProgramError } from '../../engines/run-program.ts';
import { syncDirectory } from '../../kernel/atomic-file.ts';
import { codeOf } from '../../kernel/errors.ts';
import { sleep } from '../../kernel/wait.ts';
import { runSystemTool } from '../system-tool.ts';
import type { FileOwner } from '../volume-store.ts';
import { type BackendOptions, dataPathOf, REMOVE, type StorageBackend, type TreeUsage } from './backend.ts';
import { giveData, openToAll } from './open-tree.ts';

/** Inherited by every tree. Postgres writes pages of 8 kB: with records of that size a write never has to read first. */
const PROPERTIES = ['recordsize=8k', 'compression=on', 'atime=off', 'exec=off', 'setuid=off', 'devices=off'];

const BUSY_TRIES = 6;
const BUSY_PAUSE_MS = 250;

/**
 * Trees are datasets. Needs root, and a host directory on a dataset.
 *
 * A dataset is a mount, and a mount cannot be renamed by `rename(2)`. So all datasets are mounted in `<root>/trees`, below
 * names that never change, and what the rest of storage knows as a tree is a relative link to one: it lies as deep
 * as its target, so that relative links from inside a tree to outside hold. The link is made first and removed
 * last: no dataset is without one, whenever the process dies.
 *
 * To remove a tree that has clones, the clone of its newest snapshot is promoted: it takes over all snapshots, and the tree
 * becomes a clone of it that nothing depends on. Snapshots are destroyed in advance (`-d`): each goes with its last clone.
 */
export async function openZfsBackend({ root, location, advice }: BackendOptions): Promise<StorageBackend> {
  const treesDir = join(root, 'trees');
  const base = (await findTreesDataset(root, treesDir)) ?? (await createTreesDataset(root, treesDir));
  await settleDatasets(base);
  await chmod(treesDir, 0o711);
  const datasets = new TreeDatasets(base, treesDir);
  return {
    info: {
      name: 'zfs',
      location,
      capabilities: {
        atomicLiveSnapshot: true,
        cowClone: true,
        crossHostClone: false,
        maxCloneDepth: null,
        childrenPinParent: false,
      },
      advice,
    },
    root,
    createTree: (path) => datasets.create(path),
    sealTree: openToAll,
    cloneTree: (source, target, owner) => datasets.clone(source, target, owner),
    cloneRunningTree: (source, target, owner) => datasets.clone(source, target, owner),
    removeTree: (path) => datasets.remove(path),
    async settleRemovals() {},
    async settleTree(path) {
      await syncDirectory(dataPathOf(path));
      await syncDirectory(path);
    },
    async makeRoom() {},
    measureTree: (path) => datasets.measure(path),
  };
}

/** The dataset of a directory: of the mount that it lies on. Undefined if that is not ZFS. */
export async function findDataset(path: string): Promise<string | undefined> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' '));
  const mounts = lines.map((words) => ({
    path: unescape(words[4] ?? ''),
    type: words[words.indexOf('-') + 1] ?? '',
    source: unescape(words[words.indexOf('-') + 2] ?? ''),
  }));
  const above = mounts.filter((mount) => `${path}/`.startsWith(mount.path === '/' ? '/' : `${mount.path}/`));
  const longest = Math.max(...above.map((mount) => mount.path.length));
  const mount = above.findLast((one) => one.path.length === longest);
  return mount && /^(fuse\.)?zfs$/.test(mount.type) ? mount.source : undefined;
}

/** mountinfo writes blanks and the like as `\040`. */
const unescape = (word: string): string =>
  word.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

async function findTreesDataset(root: string, treesDir: string): Promise<string | undefined> {
  const parent = await findDataset(root);
  if (!parent) throw new Error(`${root} is not on a ZFS dataset`);
  const rows = await listRows('-d', '1', '-o', 'name,mountpoint,mounted', parent);
  const row = rows.find(([, mountpoint]) => mountpoint === treesDir);
  if (!row) return undefined;
  const [name = '', , mounted] = row;
  if (mounted !== 'yes') await mount(name);
  return name;
}

async function createTreesDataset(root: string, treesDir: string): Promise<string> {
  if ((await readNames(join(root, 'volumes'))).length > 0) {
    throw new Error(`no dataset is mounted at ${treesDir}: zfs set mountpoint=${treesDir} to the one that was`);
  }
  const name = `${await findDataset(root)}/tenantry-${randomBytes(4).toString('hex')}`;
  await mkdir(treesDir, { recursive: true });
  const options = [...PROPERTIES, `mountpoint=${treesDir}`].flatMap((property) => ['-o', property]);
  await runZfs('create', ...options, name);
  return name;
}

/** Mounts what a boot left unmounted, and destroys snapshots whose clone a crash prevented. */
async function settleDatasets(base: string): Promise<void> {
  const rows = await listRows('-r', '-o', 'name,mounted,origin', base);
  for (const [name = '', mounted] of rows) if (mounted === 'no') await mount(name);
  const origins = new Set(rows.map(([, , origin]) => origin));
  for (const [snapshot = ''] of await listRows('-r', '-t', 'snapshot', '-o', 'name', base)) {
    if (!origins.has(snapshot)) await runZfs('destroy', '-d', snapshot);
  }
}

class TreeDatasets {
  readonly #base: string;
  readonly #treesDir: string;
  /** The last removal begun: a promotion changes the datasets that another removal may be looking at. */
  #removal: Promise<unknown> = Promise.resolve();

  constructor(base: string, treesDir: string) {
    this.#base = base;
    this.#treesDir = treesDir;
  }

  async create(path: string): Promise<void> {
    const id = await this.#link(path);
    await runZfs('create', this.#datasetOf(id));
    await chmod(path, 0o711);
  }

  async clone(source: string, target: string, owner: FileOwner | null): Promise<void> {
    const from = this.#datasetOf(await this.#idOf(source));
    const id = await this.#link(target);
    const snapshot = `${from}@${id}`;
    await runZfs('snapshot', snapshot);
    try {
      await runZfs('clone', snapshot, this.#datasetOf(id));
    } finally {
      await runZfs('destroy', '-d', snapshot);
    }
    await giveData(target, owner);
  }

  async remove(path: string): Promise<void> {
    const removal = this.#removal.then(() => this.#removeNow(path));
    this.#removal = removal.catch(() => {});
    await removal;
  }

  async measure(path: string): Promise<TreeUsage> {
    const dataset = this.#datasetOf(await this.#idOf(path));
    const text = await runZfs('get', '-H', '-p', '-o', 'property,value', 'used,usedbydataset,referenced', dataset);
    const values = new Map(rowsOf(text).map(([name = '', value]) => [name, Number(value)]));
    const bytes = (name: string): number => {
      const value = values.get(name);
      if (value === undefined || !Number.isFinite(value)) throw new Error(`Cannot read ${name} of ${dataset}`);
      return value;
    };
    return {
      exclusiveBytes: bytes('used'),
      sharedBytes: Math.max(0, bytes('referenced') - bytes('usedbydataset')),
    };
  }

  async #removeNow(path: string): Promise<void> {
    const candidates = (await isLink(path)) ? [path] : (await readNames(path)).map((name) => join(path, name));
    for (const candidate of candidates) {
      const id = await this.#findId(candidate);
      if (id !== undefined) await this.#destroy(id);
    }
    await rm(path, REMOVE);
  }

  async #destroy(id: string): Promise<void> {
    const dataset = this.#datasetOf(id);
    if (!(await exists(dataset))) return;
    for (;;) {
      const snapshots = await listRows('-d', '1', '-t', 'snapshot', '-o', 'name', dataset);
      const [newest] = snapshots.at(-1) ?? [];
      if (newest === undefined) break;
      const clone = await this.#findClone(newest);
      if (clone !== undefined) await runZfs('promote', clone);
      else await runZfs('destroy', newest);
    }
    await whileBusy(() => runZfs('destroy', dataset));
  }

  /** By a look at all trees: only newer versions of ZFS can ask a snapshot for its clones. */
  async #findClone(snapshot: string): Promise<string | undefined> {
    const rows = await listRows('-r', '-o', 'name,origin', this.#base);
    return rows.find(([, origin]) => origin === snapshot)?.[0];
  }

  /** Makes the link that is the tree's path, to a dataset that is yet to be made. */
  async #link(path: string): Promise<string> {
    const name = basename(path).replace(/[^A-Za-z0-9_.-]/g, '_');
    const id = `${name}-${randomBytes(6).toString('hex')}`;
    await symlink(relative(dirname(path), join(this.#treesDir, id)), path);
    return id;
  }

  async #idOf(path: string): Promise<string> {
    const id = await this.#findId(path);
    if (id === undefined) throw new Error(`Cannot use ${path}: it is no link to a dataset`);
    return id;
  }

  async #findId(path: string): Promise<string | undefined> {
    if (!(await isLink(path))) return undefined;
    const target = resolve(dirname(path), await readlink(path));
    return dirname(target) === this.#treesDir ? basename(target) : undefined;
  }

  #datasetOf(id: string): string {
    return `${this.#base}/${id}`;
  }
}

/** One that a killed Tenantry began to make may be mounted, or be gone, in the meantime. */
async function mount(dataset: string): Promise<void> {
  await whileBusy(async () => {
    if (!(await exists(dataset))) return;
    const [[mounted] = []] = await listRows('-o', 'mounted', dataset);
    if (mounted === 'no') await runZfs('mount', dataset);
  });
}

/** Who used a dataset last, a process that was killed a moment ago, may still hold its mount. */
async function whileBusy(work: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await work();
      return;
    } catch (error) {
      if (tries === BUSY_TRIES || !/busy|already mounted/i.test(String(error))) throw error;
      await sleep(BUSY_PAUSE_MS);
    }
  }
}

async function exists(dataset: string): Promise<boolean> {
  try {
    await runZfs('list', '-H', '-o', 'name', dataset);
    return true;
  } catch (error) {
    if (/does not exist/.test(String(error))) return false;
    throw error;
  }
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

async function readNames(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

const listRows = async (...args: readonly string[]): Promise<string[][]> => rowsOf(await runZfs('list', '-H', ...args));

const rowsOf = (text: string): string[][] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));

/** ZFS has words of its own for a full disk. */
async function runZfs(...args: readonly string[]): Promise<string> {
  try {
    return await runSystemTool('zfs', ...args);
  } catch (error) {
    if (!(error instanceof ProgramError) || !/out of space/i.test(error.stderr)) throw error;
    throw new ProgramError(error.message, { code: 'ENOSPC', stderr: error.stderr, cause: error });
  }
}
