import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { assert } from '../../kernel/assert.ts';

/** Of what went in. */
export interface PackedContent {
  readonly sha256: string;
  /** Before compression. */
  readonly bytes: number;
}

/** Faster than a disk, and close to what higher levels reach on pages of tables. */
const LEVEL = 3;

/**
 * Compresses a stream into a new file, durably.
 * @param watch called with the bytes written so far, before more are; what it throws ends the writing
 */
export async function writeCompressed(
  path: string,
  content: AsyncIterable<Buffer>,
  watch: (bytesWritten: number) => Promise<void>,
): Promise<PackedContent> {
  await using file = await open(path, 'wx', 0o600);
  const hash = createHash('sha256');
  let bytes = 0;
  let written = 0;
  await pipeline(
    async function* () {
      for await (const chunk of content) {
        hash.update(chunk);
        bytes += chunk.length;
        await watch(written);
        yield chunk;
      }
    },
    createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: LEVEL } }),
    async (compressed: AsyncIterable<Buffer>) => {
      for await (const chunk of compressed) {
        written += chunk.length;
        await watch(written);
        await file.writeFile(chunk);
      }
    },
  );
  await file.sync();
  return { sha256: hash.digest('hex'), bytes };
}

/** Hands `read` the content of a file, which it must read to its end. @throws Error if it is not what was written */
export async function readCompressed(
  path: string,
  { sha256 }: PackedContent,
  read: (content: AsyncIterable<Buffer>) => Promise<void>,
): Promise<void> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), createZstdDecompress(), async (content: AsyncIterable<Buffer>) => {
    await read(hashed(content, hash));
  });
  assert(hash.digest('hex') === sha256, 'an archive is not what was written');
}

async function* hashed(content: AsyncIterable<Buffer>, hash: Hash): AsyncGenerator<Buffer> {
  for await (const chunk of content) {
    hash.update(chunk);
    yield chunk;
  }
}
