import { appendFile } from 'node:fs/promises';
import { readFileIfExists, writeFileAtomic } from '../kernel/atomic-file.ts';
import { PlatformError } from '../kernel/errors.ts';

/** Far longer than any call to make a volume goes on after its operation was given up. */
const KEPT_MS = 24 * 3_600_000;
const LINE = /^(\S+) (\d{4}-\d{2}-\d{2}T[\d:.]+Z)$/;

/**
 * Ids of volumes that were deleted for good, for a day: a call to make one of them can come after its deletion, since it
 * outlives the operation that sent it (a passed deadline, a killed control), and nobody would ever delete what it made.
 *
 * One file, a line each. It is not synced: no call outlives the power failure that could take lines from it.
 */
export class DeletedVolumes {
  readonly #path: string;
  readonly #deletedAtMs: Map<string, number>;
  /** Lines and the file that replaces them are written one after another. */
  #written: Promise<unknown> = Promise.resolve();

  private constructor(path: string, deletedAtMs: Map<string, number>) {
    this.#path = path;
    this.#deletedAtMs = deletedAtMs;
  }

  static async open(path: string): Promise<DeletedVolumes> {
    const text = (await readFileIfExists(path)) ?? '';
    const found = text.split('\n').map((line) => LINE.exec(line) ?? []);
    return new DeletedVolumes(
      path,
      new Map(found.flatMap(([, id, time]) => (id && time ? [[id, Date.parse(time)]] : []))),
    );
  }

  /** Before a volume is made. @throws PlatformError CONFLICT if it was deleted for good */
  assertNotDeleted(volumeId: string): void {
    if (!this.#deletedAtMs.has(volumeId)) return;
    throw new PlatformError('CONFLICT', `Cannot make volume ${volumeId}: it was deleted meanwhile`);
  }

  async add(volumeId: string): Promise<void> {
    if (this.#deletedAtMs.has(volumeId)) return;
    await this.#write(async () => {
      const deletedAtMs = Date.now();
      // A line that a crash has cut short must not spoil this one.
      await appendFile(this.#path, `\n${line(volumeId, deletedAtMs)}`, { mode: 0o600 });
      this.#deletedAtMs.set(volumeId, deletedAtMs);
    });
  }

  /** Forgets those of long ago. */
  async prune(nowMs: number = Date.now()): Promise<void> {
    const old = [...this.#deletedAtMs].filter(([, deletedAtMs]) => deletedAtMs < nowMs - KEPT_MS);
    if (old.length === 0) return;
    for (const [volumeId] of old) this.#deletedAtMs.delete(volumeId);
    await this.#write(() => {
      const lines = [...this.#deletedAtMs].map(([volumeId, deletedAtMs]) => line(volumeId, deletedAtMs));
      return writeFileAtomic(this.#path, lines.join('\n'));
    });
  }

  async #write(write: () => Promise<void>): Promise<void> {
    const writing = this.#written.then(write);
    this.#written = writing.catch(() => undefined);
    await writing;
  }
}

const line = (volumeId: string, deletedAtMs: number): string => `${volumeId} ${new Date(deletedAtMs).toISOString()}`;
