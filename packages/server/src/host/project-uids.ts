import { mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../kernel/atomic-file.ts';

/**
 * The number of each project, for its OS user: an empty file `<number>-<project id>` each, so that an allocation is one
 * atomic, durable step and reading all of them is one directory scan. A number is never given again.
 */
export class ProjectUids {
  readonly #path: string;
  readonly #numbers = new Map<string, number>();
  #next = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  async load(): Promise<void> {
    await mkdir(this.#path, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#path)) {
      const [, number, projectId] = /^(\d+)-(.+)$/.exec(name) ?? [];
      if (!number || !projectId) continue;
      this.#numbers.set(projectId, Number(number));
      this.#next = Math.max(this.#next, Number(number) + 1);
    }
  }

  /** The project's number, allocated at the first call. */
  async ensure(projectId: string): Promise<number> {
    const known = this.#numbers.get(projectId);
    if (known !== undefined) return known;
    const allocation = this.#last.then(async () => await this.#allocate(projectId));
    this.#last = allocation.catch(() => undefined);
    return await allocation;
  }

  async #allocate(projectId: string): Promise<number> {
    const known = this.#numbers.get(projectId);
    if (known !== undefined) return known;
    const number = this.#next++;
    const file = await open(join(this.#path, `${number}-${projectId}`), 'wx', 0o600);
    await file.close();
    await syncDirectory(this.#path);
    this.#numbers.set(projectId, number);
    return number;
  }
}
