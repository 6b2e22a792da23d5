import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../kernel/errors.ts';
import { REMOVE } from './backends/backend.ts';

/**
 * What belongs to the life of the source and not to its data: locks, leftovers of recovery and backup, statistics of a
 * run that goes on elsewhere, and the link to the source's WAL.
 */
const NOT_DATA: readonly string[] = [
  'pg_wal',
  'postmaster.pid',
  'postmaster.opts',
  'standby.signal',
  'recovery.signal',
  'promote',
  'backup_label.old',
  'tablespace_map.old',
  'current_logfiles',
];

/** Directories that stay, empty. A slot of the source would hold back WAL that nobody reads here. */
const EMPTIED: readonly string[] = ['pg_replslot', 'pg_stat_tmp', 'pg_notify', 'pg_serial', 'pg_snapshots'];

/** Makes a clone's data directory one that was never in use. Its `backup_label`, if any, stays. */
export async function cleanClone(dataPath: string): Promise<void> {
  for (const name of NOT_DATA) await rm(join(dataPath, name), { force: true });
  for (const name of EMPTIED) await empty(join(dataPath, name));
}

async function empty(directory: string): Promise<void> {
  try {
    for (const name of await readdir(directory)) await rm(join(directory, name), REMOVE);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}
