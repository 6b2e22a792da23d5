import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from './run-program.ts';

const SYNC_DEADLINE_MS = 120_000;

/** Makes a whole directory tree durable: one `syncfs` where the machine has it (Linux), else file by file. */
export async function syncTree(path: string): Promise<void> {
  if (process.platform === 'linux') {
    try {
      await runProgram('sync', ['-f', path], { deadlineMs: SYNC_DEADLINE_MS });
      return;
    } catch {
      // No coreutils `sync`: the slow way below serves everywhere.
    }
  }
  await syncOne(path);
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() || entry.isDirectory()) await syncOne(join(entry.parentPath, entry.name));
  }
}

async function syncOne(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.sync();
}
