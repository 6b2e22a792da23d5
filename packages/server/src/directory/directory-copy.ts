import { type FileHandle, open } from 'node:fs/promises';
import { readFileIfExists, writeFileAtomic } from '../kernel/atomic-file.ts';
import { codeOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { DirectoryEntry } from '../gateway/ports.ts';
import type { DirectoryChange } from './messages.ts';

/** Garbage lines that a copy may hold beside one line an entry. */
const GARBAGE_LINES_MAX = 1_000;

/**
 * The directory as one gateway holds it, in memory and as JSON lines on its own disk, so that a gateway which starts
 * while control is away can still route. First line: the epoch; then changes in order. A cache: losing its tail in a
 * crash only means that control sends it again.
 */
export class DirectoryCopy {
  readonly #path: string;
  readonly #log: Log;
  readonly #entries = new Map<string, DirectoryEntry>();
  #epoch: string | null = null;
  #seq = 0;
  #lines = 0;
  #file: FileHandle | undefined;
  /** Writes happen one after another; callers do not wait for them. */
  #writes: Promise<void> = Promise.resolve();

  private constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  static async open(path: string, log: Log): Promise<DirectoryCopy> {
    const copy = new DirectoryCopy(path, log);
    copy.#load((await readFileIfExists(path)) ?? '');
    return copy;
  }

  get epoch(): string | null {
    return this.#epoch;
  }

  get seq(): number {
    return this.#seq;
  }

  get(endpointId: string): DirectoryEntry | undefined {
    return this.#entries.get(endpointId);
  }

  /** Control speaks of another metadata database than the copy was made from: start over. */
  reset(epoch: string): void {
    this.#entries.clear();
    this.#epoch = epoch;
    this.#seq = 0;
    this.#enqueue(() => this.#compact());
  }

  apply(change: DirectoryChange): void {
    this.#remember(change);
    const line = `${JSON.stringify(change)}\n`;
    this.#lines += 1;
    const isFull = this.#lines > 2 * this.#entries.size + GARBAGE_LINES_MAX;
    if (isFull) this.#lines = this.#entries.size;
    this.#enqueue(() => (isFull ? this.#compact() : this.#append(line)));
  }

  async close(): Promise<void> {
    await this.#writes;
    await this.#file?.close();
  }

  #remember({ seq, endpointId, entry }: DirectoryChange): void {
    if (entry) this.#entries.set(endpointId, entry);
    else this.#entries.delete(endpointId);
    this.#seq = Math.max(this.#seq, seq);
  }

  #load(text: string): void {
    const [first, ...lines] = text.split('\n');
    if (!first) return;
    try {
      this.#epoch = (JSON.parse(first) as { epoch: string }).epoch;
      for (const line of lines) {
        if (line) this.#remember(JSON.parse(line) as DirectoryChange);
        this.#lines += 1;
      }
    } catch (error) {
      // A torn last line after a crash: what came before it holds.
      this.#log.warn({ err: error, seq: this.#seq }, 'The directory copy ends in a torn line');
      this.#lines = Number.MAX_SAFE_INTEGER / 2;
    }
  }

  #enqueue(write: () => Promise<void>): void {
    this.#writes = this.#writes.then(write).catch((error: unknown) => {
      this.#log.warn({ code: codeOf(error) }, 'Cannot write the directory copy');
    });
  }

  async #append(line: string): Promise<void> {
    this.#file ??= await open(this.#path, 'a', 0o600);
    await this.#file.appendFile(line);
  }

  async #compact(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
    const seq = this.#seq;
    const changes = [...this.#entries].map(([endpointId, entry]) => JSON.stringify({ seq, endpointId, entry }));
    await writeFileAtomic(this.#path, [JSON.stringify({ epoch: this.#epoch }), ...changes, ''].join('\n'));
  }
}
