import { readdirSync, readFileSync } from 'node:fs';

/** One process as /proc shows it. */
export interface OsProcess {
  readonly pid: number;
  readonly parentPid: number;
  readonly uid: number;
  readonly argv: readonly string[];
}

/** All processes of the machine but zombies and kernel threads. */
export function listOsProcesses(): OsProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readOsProcess(Number(name)) ?? []);
}

export function readOsProcess(pid: number): OsProcess | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const field = (name: string): string => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1] ?? '';
    if (field('State') === 'Z' || field('State') === 'X') return undefined;
    const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    if (argv.length === 0) return undefined;
    return { pid, parentPid: Number(field('PPid')), uid: Number(field('Uid')), argv };
  } catch {
    return undefined; // it ended meanwhile
  }
}

export const isAlive = (pid: number): boolean => readOsProcess(pid) !== undefined;

/** The processes below these, at any depth, themselves included. */
export function withDescendants(pids: readonly number[], all = listOsProcesses()): OsProcess[] {
  const wanted = new Set(pids);
  for (let size = -1; size !== wanted.size;) {
    size = wanted.size;
    for (const p of all) if (wanted.has(p.parentPid)) wanted.add(p.pid);
  }
  return all.filter((p) => wanted.has(p.pid));
}

/** CPU time that a process has used in its life, in seconds, with that of its children that have ended. */
export function cpuSeconds(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticksPerSecond = 100; // USER_HZ, the same on every Linux that Node runs on
    const [user, system, childrenUser, childrenSystem] = fields.slice(11, 15).map(Number);
    return ((user ?? 0) + (system ?? 0) + (childrenUser ?? 0) + (childrenSystem ?? 0)) / ticksPerSecond;
  } catch {
    return 0;
  }
}

/** Memory of a process in bytes: its share of shared pages (`pss`), and what it alone has (`privateBytes`). */
export function memoryOf(pid: number): { pss: number; privateBytes: number } {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    const bytes = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0) * 1024;
    return { pss: bytes('Pss'), privateBytes: bytes('Private_Clean') + bytes('Private_Dirty') };
  } catch {
    return { pss: 0, privateBytes: 0 };
  }
}
