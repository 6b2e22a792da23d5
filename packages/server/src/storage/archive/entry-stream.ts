import { chmod, lchown, lstat, mkdir, open, readlink, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../../kernel/assert.ts';
import { listTree } from '../walk-tree.ts';

/**
 * Files as one stream of bytes: of each the length of its header (4 bytes, little endian), the header as JSON, and its
 * content. The last header has the path ''.
 */
interface Header {
  /** Below the name of its root. */
  readonly path: string;
  readonly kind: 'directory' | 'file' | 'link';
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content that follow. */
  readonly size: number;
  /** Of a link. */
  readonly target?: string;
}

export interface PackedRoot {
  /** What its paths begin with in the stream. */
  readonly name: string;
  readonly path: string;
  /** Left out: all of it. */
  readonly includes?: (path: string) => boolean;
}

const CHUNK_BYTES = 256 * 1024;
const BLOCK_BYTES = 4096;
const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);
const END: Header = { path: '', kind: 'file', mode: 0, uid: 0, gid: 0, size: 0 };

/** Nobody may write to the files meanwhile. @throws Error if one changes its size all the same */
export async function* packRoots(roots: readonly PackedRoot[]): AsyncGenerator<Buffer> {
  for (const root of roots) {
    const entries = (await listTree(root.path)).filter(({ path }) => root.includes?.(path) ?? true);
    for (const { path, kind } of [{ path: '', kind: 'directory' } as const, ...entries]) {
      if (kind === 'other') continue;
      const from = join(root.path, path);
      const { mode, uid, gid, size: fileSize } = await lstat(from);
      const size = kind === 'file' ? fileSize : 0;
      const target = kind === 'link' ? { target: await readlink(from) } : {};
      yield packHeader({ path: join(root.name, path), kind, mode: mode & 0o7777, uid, gid, size, ...target });
      if (size > 0) yield* readWhole(from, size);
    }
  }
  yield packHeader(END);
}

function packHeader(header: Header): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  return Buffer.concat([length, text]);
}

async function* readWhole(path: string, size: number): AsyncGenerator<Buffer> {
  await using file = await open(path, 'r');
  for (let at = 0; at < size;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size - at)), 0);
    assert(bytesRead > 0, 'a file of a volume that stands still gets shorter');
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

/**
 * Makes the files of a stream again: content, modes, links, and owners where `keepsOwners` (only root can give files
 * away). Blocks of zeros become holes. Reads the stream to its end.
 * @param rootOf where the files below a root's name go, whose parent is there
 */
export async function unpackRoots(
  stream: AsyncIterable<Buffer>,
  { rootOf, keepsOwners }: { readonly rootOf: (name: string) => string; readonly keepsOwners: boolean },
): Promise<void> {
  const reader = new StreamReader(stream);
  for (;;) {
    const header = await readHeader(reader);
    if (header.path === '') break;
    const [name = '', ...rest] = header.path.split('/');
    const to = join(rootOf(name), ...rest);
    await makeEntry(reader, header, to);
    if (header.kind !== 'link') await chmod(to, header.mode);
    if (keepsOwners) await lchown(to, header.uid, header.gid);
  }
  assert(await reader.isAtEnd(), 'an archive goes on after its end');
}

/** Reads a stream as `unpackRoots` does, without making anything. */
export async function checkRoots(stream: AsyncIterable<Buffer>): Promise<void> {
  const reader = new StreamReader(stream);
  for (let header = await readHeader(reader); header.path !== ''; header = await readHeader(reader)) {
    for (let left = header.size; left > 0;) left -= (await reader.readSome(Math.min(CHUNK_BYTES, left))).length;
  }
  assert(await reader.isAtEnd(), 'an archive goes on after its end');
}

async function readHeader(reader: StreamReader): Promise<Header> {
  const length = (await reader.readAll(4)).readUInt32LE();
  return JSON.parse((await reader.readAll(length)).toString('utf8')) as Header;
}

async function makeEntry(reader: StreamReader, { kind, size, target = '' }: Header, to: string): Promise<void> {
  if (kind === 'directory') {
    await mkdir(to, { mode: 0o700 });
    return;
  }
  if (kind === 'link') return await symlink(target, to);
  await using file = await open(to, 'wx', 0o600);
  await file.truncate(size);
  for (let at = 0; at < size;) {
    const chunk = await reader.readAll(Math.min(CHUNK_BYTES, size - at));
    for (const [start, end] of writtenRuns(chunk)) await file.write(chunk, start, end - start, at + start);
    at += chunk.length;
  }
}

/** The parts of a chunk between its blocks of zeros. */
export function writtenRuns(chunk: Buffer): readonly (readonly [start: number, end: number])[] {
  const runs: [number, number][] = [];
  for (let start = 0; start < chunk.length; start += BLOCK_BYTES) {
    const end = Math.min(start + BLOCK_BYTES, chunk.length);
    if (chunk.subarray(start, end).equals(ZERO_BLOCK.subarray(0, end - start))) continue;
    const last = runs.at(-1);
    if (last && last[1] === start) last[1] = end;
    else runs.push([start, end]);
  }
  return runs;
}

/** Bytes of a stream, as many as one asks for. */
class StreamReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: AsyncIterable<Buffer>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  /** From 1 to `max` bytes. @throws Error at the end */
  async readSome(max: number): Promise<Buffer> {
    assert(!(await this.isAtEnd()), 'an archive ends too early');
    const some = this.#rest.subarray(0, max);
    this.#rest = this.#rest.subarray(some.length);
    return some;
  }

  /** @throws Error if there are fewer */
  async readAll(size: number): Promise<Buffer> {
    const first = size > 0 ? await this.readSome(size) : Buffer.alloc(0);
    if (first.length === size) return first;
    const parts = [first];
    for (let left = size - first.length; left > 0;) {
      const part = await this.readSome(left);
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }

  async isAtEnd(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return true;
      this.#rest = value;
    }
    return false;
  }
}
