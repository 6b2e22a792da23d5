import type { Installation } from '../config/installation.ts';
import { isAlive, signalProcess } from '../compute/process-table.ts';
import { readFileIfExists } from '../kernel/atomic-file.ts';
import { PlatformError } from '../kernel/errors.ts';
import { sleep } from '../kernel/wait.ts';
import type { ProcessesFile } from './protocol.ts';

const GOES_BY_ITSELF_MAX_MS = 10_000;
const POLL_MS = 50;

/**
 * The processes file of the last run, or undefined at a first start.
 * @throws PlatformError CONFLICT if it is damaged: nobody knows then what still runs
 */
export async function readProcessesFile(path: string): Promise<ProcessesFile | undefined> {
  const text = await readFileIfExists(path);
  if (!text) return undefined;
  const file = parse(text);
  if (!isProcessesFile(file)) {
    throw new PlatformError(
      'CONFLICT',
      `Cannot read ${path}: it is damaged. Delete it if no Tenantry process runs on this data directory`,
    );
  }
  return file;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isProcessesFile(value: unknown): value is ProcessesFile {
  if (typeof value !== 'object' || value === null) return false;
  const { supervisor, gateways, startTimes } = value as Partial<Record<keyof ProcessesFile, unknown>>;
  const isTimes = typeof startTimes === 'object' && startTimes !== null;
  return typeof supervisor === 'number' && Array.isArray(gateways) && isTimes;
}

/** Is this pid the very process that the file speaks of? */
export function isStillRunning(file: ProcessesFile, pid: number | null): pid is number {
  return pid !== null && isAlive({ pid, startTime: file.startTimes[String(pid)] ?? '' });
}

/**
 * Makes sure that nothing of an earlier run still serves this data directory, except Postgres processes: after a
 * `kill -9` of a supervisor its processes notice and leave, which this waits for.
 * @throws PlatformError CONFLICT if another supervisor runs
 */
export async function endPreviousRun({ paths, dataDir }: Installation): Promise<void> {
  const file = await readProcessesFile(paths.processes);
  if (!file) return;
  if (isStillRunning(file, file.supervisor)) {
    throw new PlatformError('CONFLICT', `Cannot start: Tenantry runs already on ${dataDir} (pid ${file.supervisor})`);
  }
  const left = (): number[] => [file.control, file.host, ...file.gateways].filter((pid) => isStillRunning(file, pid));
  const deadline = performance.now() + GOES_BY_ITSELF_MAX_MS;
  while (left().length > 0) {
    if (performance.now() > deadline)
      for (const pid of left()) signalProcess({ pid, startTime: file.startTimes[String(pid)] ?? '' }, 'SIGKILL');
    await sleep(POLL_MS);
  }
}
