import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';

/**
 * What the kernel says of processes. Pids are reused, so a process is always a pid with its start time: nothing is
 * signalled or taken for ours by its pid alone. Reads /proc; without one (macOS) asks `ps`, which is slower and cannot
 * tell working directories.
 */
export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque; equal for the same process only. */
  readonly startTime: string;
}

const hasProc = existsSync('/proc/self/stat');

/** The process of this pid, unless there is none or it is a zombie. */
export function findProcess(pid: number): ProcessIdentity | undefined {
  const startTime = hasProc ? startTimeFromProc(pid) : startTimeFromPs(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

export function isAlive({ pid, startTime }: ProcessIdentity): boolean {
  return findProcess(pid)?.startTime === startTime;
}

/** Sends a signal; false if the process is gone, or its pid is another process now. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** The processes whose working directory is this one: a postmaster and its children sit in their data directory. */
export function findProcessesIn(directory: string): ProcessIdentity[] {
  return listPids().flatMap((pid) => {
    try {
      if (readlinkSync(`/proc/${pid}/cwd`) !== directory) return [];
    } catch {
      return []; // ended meanwhile, or of another user
    }
    return findProcess(pid) ?? [];
  });
}

/** All processes whose command line holds `text`, with that command line. */
export function findProcessesByCommand(text: string): { identity: ProcessIdentity; command: string }[] {
  return listCommands().flatMap(({ pid, command }) => {
    if (!command.includes(text)) return [];
    const identity = findProcess(pid);
    return identity ? [{ identity, command }] : [];
  });
}

function listPids(): number[] {
  if (!hasProc) return [];
  return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
}

function listCommands(): { pid: number; command: string }[] {
  if (!hasProc) {
    const lines = execFileSync('ps', ['-axo', 'pid=,command='], { encoding: 'utf8', timeout: 5000 }).split('\n');
    return lines.map((line) => ({ pid: Number.parseInt(line, 10), command: line }));
  }
  return listPids().flatMap((pid) => {
    try {
      return [{ pid, command: readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ') }];
    } catch {
      return [];
    }
  });
}

/** Field 22 of proc_pid_stat(5), in clock ticks since boot; the name in parentheses may hold anything. */
function startTimeFromProc(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state] = fields;
    return state === 'Z' || state === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function startTimeFromPs(pid: number): string | undefined {
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', timeout: 5000 }).trim();
  } catch {
    return undefined;
  }
}
