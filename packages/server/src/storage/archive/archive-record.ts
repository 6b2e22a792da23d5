import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists, syncDirectory, writeFileAtomic } from '../../kernel/atomic-file.ts';
import { codeOf } from '../../kernel/errors.ts';
import type { VolumeRecord } from '../volume-record.ts';
import type { PackedContent } from './archive-file.ts';

/** `archive.json`: a volume that is kept compressed. It is there in every whole archive. */
export interface ArchiveRecord {
  readonly format: 1;
  readonly volume: VolumeRecord;
  readonly needsPromotion: boolean;
  readonly archivedAt: string;
  readonly content: PackedContent;
  /** What it takes compressed. */
  readonly compressedBytes: number;
  /** What its data and its WAL take once they are back. */
  readonly dataBytes: number;
  readonly walBytes: number;
  /** The size of all databases' files. */
  readonly logicalBytes: number;
}

const FILE = 'archive.json';

export const contentPathOf = (directory: string): string => join(directory, 'content.zst');

export async function writeArchiveRecord(directory: string, record: ArchiveRecord): Promise<void> {
  await writeFileAtomic(join(directory, FILE), JSON.stringify(record));
}

/** Undefined if there is no whole archive. @throws Error if it cannot be understood */
export async function readArchiveRecord(directory: string): Promise<ArchiveRecord | undefined> {
  const text = await readFileIfExists(join(directory, FILE));
  if (text === undefined) return undefined;
  const record = JSON.parse(text) as Partial<ArchiveRecord>;
  if (record.format === 1) return record as ArchiveRecord;
  throw new Error('Cannot read the record of an archive: it was written by another version of Tenantry');
}

/** The record first: without it nothing of what is left counts. Idempotent. */
export async function removeArchive(directory: string): Promise<void> {
  await rm(join(directory, FILE), { force: true });
  try {
    await syncDirectory(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  await rm(directory, { recursive: true, force: true });
}
