import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists, syncDirectory, writeFileAtomic } from '../../kernel/atomic-file.ts';
import { messageOf } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { forEachParallel } from '../walk-tree.ts';
import { formatLineage, type Lineage, parseLineage } from './lineage.ts';

const FILE = 'lineage.json';

interface LineageStoreOptions {
  /** `<hostDir>/history`: one directory a volume. */
  readonly historyDir: string;
  readonly log: Log;
}

/**
 * The lineages of this machine, on disk and in memory: all that is known of each volume's history but the WAL itself.
 * Only this process writes them.
 */
export class LineageStore {
  readonly #historyDir: string;
  readonly #log: Log;
  readonly #lineages = new Map<string, Lineage>();
  /** Directories whose record cannot be read. Nothing of them is removed, and no point either. */
  readonly #unreadable = new Set<string>();
  #loading: Promise<void> | undefined;

  constructor({ historyDir, log }: LineageStoreOptions) {
    this.#historyDir = historyDir;
    this.#log = log;
  }

  directoryOf(volumeId: string): string {
    return join(this.#historyDir, volumeId);
  }

  /** @throws Error if it is there but cannot be read: it must not be begun anew */
  async find(volumeId: string): Promise<Lineage | undefined> {
    await this.#load();
    if (this.#unreadable.has(volumeId)) throw new Error(`Cannot read the history of volume ${volumeId}`);
    return this.#lineages.get(volumeId);
  }

  async list(): Promise<readonly Lineage[]> {
    await this.#load();
    return [...this.#lineages.values()];
  }

  /** Does any lineage need this point? Yes if one cannot be read. */
  async isReferenced(pointId: string): Promise<boolean> {
    await this.#load();
    if (this.#unreadable.size > 0) return true;
    for (const { points } of this.#lineages.values()) if (points.some((p) => p.pointId === pointId)) return true;
    return false;
  }

  /** Durable when it resolves. */
  async put(lineage: Lineage): Promise<void> {
    await this.#load();
    const directory = this.directoryOf(lineage.volumeId);
    if ((await mkdir(directory, { recursive: true, mode: 0o700 })) !== undefined) await syncDirectory(this.#historyDir);
    await writeFileAtomic(join(directory, FILE), formatLineage(lineage));
    this.#unreadable.delete(lineage.volumeId);
    this.#lineages.set(lineage.volumeId, lineage);
  }

  /** Removes a volume's history: the record first, so that what is left after a crash refers to nothing. */
  async remove(volumeId: string): Promise<void> {
    await this.#load();
    const directory = this.directoryOf(volumeId);
    await rm(join(directory, FILE), { force: true });
    this.#lineages.delete(volumeId);
    this.#unreadable.delete(volumeId);
    await rm(directory, { recursive: true, force: true });
  }

  #load(): Promise<void> {
    this.#loading ??= this.#read();
    return this.#loading;
  }

  async #read(): Promise<void> {
    await forEachParallel(await readdir(this.#historyDir), async (volumeId) => {
      try {
        const text = await readFileIfExists(join(this.directoryOf(volumeId), FILE));
        if (text !== undefined) this.#lineages.set(volumeId, parseLineage(text));
      } catch (error) {
        this.#unreadable.add(volumeId);
        this.#log.warn({ volumeId, reason: messageOf(error) }, 'history cannot be read, left alone');
      }
    });
  }
}
