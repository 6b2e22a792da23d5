import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, readSync, readdirSync, readlinkSync } from 'node:fs';

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

/** A process that is looked at often. */
export interface OpenProcess {
  isAlive(): boolean;
  close(): void;
}

/** Enough of proc_pid_stat(5) for a pid, a name of 15 bytes in parentheses, and the state. */
const stateBytes = Buffer.alloc(64);

/**
 * Opens a process for many looks. An open file of /proc belongs to the process and not to its pid: after the end it gives
 * ESRCH, whoever has the pid then, so a look is one read.
 */
export function openProcess(identity: ProcessIdentity): OpenProcess {
  const fd = hasProc ? openQuietly(`/proc/${identity.pid}/stat`) : undefined;
  // The file was opened by pid: only now it is known whose it is.
  if (fd === undefined || !isAlive(identity)) {
    if (fd !== undefined) closeSync(fd);
    return { isAlive: () => isAlive(identity), close() {} };
  }
  return {
    isAlive() {
      try {
        const length = readSync(fd, stateBytes, 0, stateBytes.length, 0);
        return isLivingState(stateAndAfter(stateBytes.toString('latin1', 0, length))[0]);
      } catch {
        return false;
      }
    },
    close: () => closeSync(fd),
  };
}

function openQuietly(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch {
    return undefined;
  }
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

/**
 * The processes whose command line holds `text`, with that command line. Without their children: one that was forked
 * just now, a Postgres session before it names itself, has the command line of its parent, and maybe a lower pid.
 */
export function findProcessesByCommand(text: string): { identity: ProcessIdentity; command: string }[] {
  const found = listCommands().filter(({ command }) => command.includes(text));
  const pids = new Set(found.map(({ pid }) => pid));
  return found.flatMap(({ pid, command }) => {
    const identity = findProcess(pid);
    const parentPid = findParentPid(pid);
    return identity && !(parentPid !== undefined && pids.has(parentPid)) ? [{ identity, command }] : [];
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

/** Field 22 of proc_pid_stat(5), in clock ticks since boot. */
function startTimeFromProc(pid: number): string | undefined {
  const fields = statFields(pid);
  return isLivingState(fields?.[0]) ? fields?.[19] : undefined;
}

const isLivingState = (state: string | undefined): boolean => state !== 'Z' && state !== 'X';

function findParentPid(pid: number): number | undefined {
  if (hasProc) return Number(statFields(pid)?.[1]);
  const text = askPs(pid, 'ppid=');
  return text === undefined ? undefined : Number(text);
}

function statFields(pid: number): string[] | undefined {
  try {
    return stateAndAfter(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return undefined;
  }
}

/** From field 3 (state) of proc_pid_stat(5) on; the name before it, in parentheses, may hold anything. */
const stateAndAfter = (stat: string): string[] => stat.slice(stat.lastIndexOf(')') + 2).split(' ');

const startTimeFromPs = (pid: number): string | undefined => askPs(pid, 'lstart=');

function askPs(pid: number, column: string): string | undefined {
  try {
    return execFileSync('ps', ['-o', column, '-p', String(pid)], { encoding: 'utf8', timeout: 5000 }).trim();
  } catch {
    return undefined;
  }
}
