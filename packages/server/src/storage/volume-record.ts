import { join } from 'node:path';
import { readFileIfExists, writeFileAtomic } from '../kernel/atomic-file.ts';
import { codeOf } from '../kernel/errors.ts';
import type { FileOwner } from './volume-store.ts';

/** `volume.json`: what a volume is, for whoever finds it on the disk. It is there in every whole volume. */
export interface VolumeRecord {
  readonly format: 1;
  readonly volumeId: string;
  readonly pgVersion: number;
  readonly engineVersion: string;
  readonly owner: FileOwner | null;
  readonly createdAt: string;
  /** Only of a read replica. */
  readonly replica?: ReplicaRecord;
}

export interface ReplicaRecord {
  readonly primaryId: string;
  /** Where the replay of the clone begins, as Postgres writes it. */
  readonly redoLsn: string;
  /** The machine's boot in which it was made. */
  readonly bootId: string;
}

const FILE = 'volume.json';

export async function writeVolumeRecord(volumeDir: string, record: VolumeRecord): Promise<void> {
  await writeFileAtomic(join(volumeDir, FILE), JSON.stringify(record));
}

/** The record of a volume's directory; undefined if there is none. @throws Error if it cannot be understood */
export async function readVolumeRecord(volumeDir: string): Promise<VolumeRecord | undefined> {
  try {
    const text = await readFileIfExists(join(volumeDir, FILE));
    return text === undefined ? undefined : parseVolumeRecord(text);
  } catch (error) {
    if (codeOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

function parseVolumeRecord(text: string): VolumeRecord {
  const record = JSON.parse(text) as Partial<VolumeRecord>;
  if (record.format !== 1 || typeof record.volumeId !== 'string' || typeof record.pgVersion !== 'number') {
    throw new Error('Cannot read a volume record: it was written by another version of Tenantry');
  }
  return record as VolumeRecord;
}
