import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

const SIZE_MAX_BYTES = 64 * 1024 * 1024;

/** The log of all our processes in one bounded file; the one before it is kept as `<path>.1`. */
export class LogFile {
  readonly #path: string;
  #fd: number;
  #size: number;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, 'a', 0o600);
    this.#size = fstatSync(this.#fd).size;
  }

  /** Never throws: a full disk costs log lines, not the platform. */
  write(chunk: Buffer | string): void {
    const bytes = Buffer.from(chunk);
    try {
      writeSync(this.#fd, bytes);
      this.#size += bytes.length;
      if (this.#size > SIZE_MAX_BYTES && bytes.at(-1) === 0x0a) this.#rotate();
    } catch {
      // Nowhere left to tell it.
    }
  }

  #rotate(): void {
    closeSync(this.#fd);
    renameSync(this.#path, `${this.#path}.1`);
    this.#fd = openSync(this.#path, 'a', 0o600);
    this.#size = 0;
  }
}
