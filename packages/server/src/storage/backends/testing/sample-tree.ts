import { createHash, randomBytes } from 'node:crypto';
import { chmod, lchown, lstat, mkdir, open, readFile, readlink, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { listTree } from '../../walk-tree.ts';
import type { FileOwner } from '../../volume-store.ts';
import { dataPathOf, type StorageBackend } from '../backend.ts';

const HOLE_BYTES = 8 * 1024 * 1024;

/** A tree with one of everything that a data directory can hold, all of it the owner's. */
export async function makeSampleTree(backend: StorageBackend, path: string, owner: FileOwner | null): Promise<void> {
  await backend.createTree(path);
  const data = dataPathOf(path);
  const at = (name: string): string => join(data, name);
  await mkdir(data, { mode: 0o700 });
  for (const name of ['base', 'base/1', 'base/empty', 'pg_tblspc']) await mkdir(at(name), { mode: 0o700 });
  for (let n = 0; n < 40; n += 1) await writeFile(at(`base/1/${n}`), randomBytes(n * 1000 + 1), { mode: 0o600 });
  await writeFile(at('base/1/big'), randomBytes(3_000_001));
  await writeFile(at('none'), '');
  await writeFile(at('a name with blanks, ünïcode and "quotes"'), 'x');
  await writeFile(at('open'), 'for all');
  await chmod(at('open'), 0o666);
  await writeFile(at('program'), '#!/bin/sh\n');
  await chmod(at('program'), 0o750);
  await chmod(at('base/empty'), 0o777);
  await symlink('../../../wal/somewhere', at('pg_wal'));
  await symlink('/nowhere/at all', at('pg_tblspc/1'));
  await writeFile(at('hole'), '');
  await truncate(at('hole'), HOLE_BYTES);
  await using hole = await open(at('hole'), 'r+');
  await hole.write(Buffer.alloc(8192, 7), 0, 8192, HOLE_BYTES / 2);
  await hole.sync();
  if (!owner) return;
  await lchown(data, owner.uid, owner.gid);
  for (const entry of await listTree(data)) await lchown(at(entry.path), owner.uid, owner.gid);
}

/** What can be seen of a tree's data: a line per file, alike if and only if the trees are. */
export async function describeTree(path: string): Promise<string[]> {
  const data = dataPathOf(path);
  const lines = [];
  for (const { path: name, kind } of [{ path: '', kind: 'directory' }, ...(await listTree(data))]) {
    const file = join(data, name);
    const { mode, uid, gid, size } = await lstat(file);
    const facts = [name, kind, (mode & 0o7777).toString(8), uid, gid];
    if (kind === 'file')
      facts.push(
        size,
        createHash('sha256')
          .update(await readFile(file))
          .digest('hex'),
      );
    if (kind === 'link') facts.push(await readlink(file));
    lines.push(facts.join(' '));
  }
  return lines.sort();
}
