import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export const isRoot = process.getuid?.() === 0;

export const hasTool = (tool: string): boolean =>
  ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin'].some((directory) => existsSync(join(directory, tool)));

/** True only where ZFS itself answers, not just its command. */
export function hasZfs(): boolean {
  try {
    execFileSync('zpool', ['list'], { stdio: 'ignore' });
    return isRoot;
  } catch {
    return false;
  }
}

/** Filesystems of their own in sparse files below one directory, all given up by one call. */
export class Disks {
  readonly #base: string;
  readonly #undo: (() => void)[] = [];

  constructor(base: string) {
    this.#base = base;
  }

  /** @returns the mount point */
  async mount(name: string, mkfs: readonly string[], bytes: number): Promise<string> {
    const { image, path } = await this.#makeImage(name, bytes);
    const [tool = '', ...args] = mkfs;
    execFileSync(tool, [...args, image], { stdio: 'ignore' });
    execFileSync('mount', ['-o', 'loop', image, path]);
    this.#undo.push(() => execFileSync('umount', ['-R', path]));
    await chmod(path, 0o755);
    return path;
  }

  async mountZfs(name: string, bytes: number): Promise<string> {
    const { image, path } = await this.#makeImage(name, bytes);
    const pool = `tenantry-test-${process.pid}`;
    execFileSync('zpool', ['create', '-m', path, pool, image], { stdio: 'ignore' });
    this.#undo.push(() => execFileSync('zpool', ['destroy', '-f', pool]));
    return path;
  }

  unmountAll(): void {
    for (let undo = this.#undo.pop(); undo; undo = this.#undo.pop()) undo();
  }

  async #makeImage(name: string, bytes: number): Promise<{ image: string; path: string }> {
    const image = join(this.#base, `${name}.img`);
    const path = join(this.#base, name);
    await writeFile(image, '');
    await truncate(image, bytes);
    await mkdir(path);
    return { image, path };
  }
}
