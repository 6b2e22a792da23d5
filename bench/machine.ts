import { spawnSync } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { median, print, round } from './statistics.ts';

const PAGE_BYTES = 4096;
/** Touched at a time. */
const PAGES = 256;
const REPEATS = 30;

/**
 * Prints what the machine charges for that of which starts and branches are made: the first touch of a page of memory,
 * a process, a write that is to last. Machines differ in them by far more than in the speed of their cores: a page
 * takes less than 1 us on plain hardware, and 20 us under some hypervisors.
 */
export function describeMachine(): void {
  print({
    case: 'machine',
    cores: availableParallelism(),
    page_fault_us: round(pageFaultUs()),
    process_ms: round(median(repeat(() => void spawnSync('/bin/true')))),
    fdatasync_ms: round(medianSyncMs()),
  });
}

function pageFaultUs(): number {
  const memory = Buffer.allocUnsafeSlow(PAGE_BYTES * PAGES * REPEATS);
  let at = 0;
  const times = repeat(() => {
    for (const end = at + PAGE_BYTES * PAGES; at < end; at += PAGE_BYTES) memory[at] = 1;
  });
  return (median(times) * 1000) / PAGES;
}

function medianSyncMs(): number {
  const directory = mkdtempSync(join(tmpdir(), 'tenantry-bench-'));
  const file = openSync(join(directory, 'file'), 'w');
  const block = Buffer.alloc(8192, 1);
  try {
    return median(
      repeat(() => {
        writeSync(file, block, 0, block.length, 0);
        fdatasyncSync(file);
      }),
    );
  } finally {
    closeSync(file);
    rmSync(directory, { recursive: true });
  }
}

const repeat = (work: () => void): number[] => Array.from({ length: REPEATS }, () => timedSync(work));

function timedSync(work: () => void): number {
  const began = performance.now();
  work();
  return performance.now() - began;
}
