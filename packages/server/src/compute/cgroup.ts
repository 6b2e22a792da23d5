import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { codeOf } from '../kernel/errors.ts';
import { sleep } from '../kernel/wait.ts';
import { memoryBytesOf, type ComputeSize } from './settings.ts';

/**
 * A cgroup per compute: CPU time and memory of its size. The calls are synchronous because they sit between the spawn
 * of Postgres and its first fork; each is a few writes to kernel files, under 0.1 ms.
 */
export interface CgroupTree {
  readonly version: 'v1' | 'v2';
  /** Makes the group, sets its limits and moves the processes there. Repeating it updates the limits. */
  place(name: string, size: PlacedSize, pids: readonly number[]): void;
  /** Removes an empty group; waits a little for the kernel to see it empty. Idempotent. */
  remove(name: string): Promise<void>;
  list(): string[];
  /** Removes the group that holds all, if it is empty. */
  close(): Promise<void>;
}

export interface OpenCgroupsOptions {
  /** Where the kernel's cgroup filesystems are mounted. */
  readonly mountPath?: string;
  /** Name of the group that holds those of this installation. */
  readonly groupName: string;
}

/** What a group is for. A compute that starts has CPU time as if it were large: a client waits, a clone has WAL to replay. */
export interface PlacedSize extends ComputeSize {
  readonly isStarting?: boolean;
}

const STARTING: ComputeSize = { minCu: 2, maxCu: availableParallelism() };
/** All computes together weigh as many vCPUs as there are; left at the default, all of them would weigh as one process. */
const WHOLE_MACHINE: ComputeSize = { minCu: availableParallelism(), maxCu: availableParallelism() };
const CPU_PERIOD_US = 100_000;
const REMOVE_TRIES = 100;

/**
 * The cgroups of this machine: v2 if its controllers are there, else v1; undefined if neither can be written. Groups go
 * below the root of the mount (in a container that is the container's own group), not below the group of this process:
 * a session or service manager would end them, and running computes, together with us.
 */
export function openCgroups({ mountPath = '/sys/fs/cgroup', groupName }: OpenCgroupsOptions): CgroupTree | undefined {
  try {
    return openV2(mountPath, groupName) ?? openV1(mountPath, groupName);
  } catch {
    return undefined;
  }
}

/** The limits as files of cgroup v2. @see https://docs.kernel.org/admin-guide/cgroup-v2.html */
export function limitsV2(size: PlacedSize): Record<string, string> {
  const { minCu, maxCu } = cpuOf(size);
  return {
    'cpu.max': `${Math.round(maxCu * CPU_PERIOD_US)} ${CPU_PERIOD_US}`,
    'cpu.weight': String(Math.min(10_000, Math.max(1, Math.round(minCu * 100)))),
    'memory.max': String(memoryBytesOf(size.maxCu)),
  };
}

/** The larger of the two: a large compute is not held back while it starts. */
function cpuOf({ minCu, maxCu, isStarting = false }: PlacedSize): ComputeSize {
  if (!isStarting) return { minCu, maxCu };
  return { minCu: Math.max(minCu, STARTING.minCu), maxCu: Math.max(maxCu, STARTING.maxCu) };
}

/** The limits as files of cgroup v1, by controller. */
export function limitsV1(size: PlacedSize): Record<'cpu' | 'memory', Record<string, string>> {
  const { minCu, maxCu } = cpuOf(size);
  return {
    cpu: {
      'cpu.cfs_period_us': String(CPU_PERIOD_US),
      'cpu.cfs_quota_us': String(Math.round(maxCu * CPU_PERIOD_US)),
      'cpu.shares': String(Math.max(2, Math.round(minCu * 1024))),
    },
    memory: { 'memory.limit_in_bytes': String(memoryBytesOf(size.maxCu)) },
  };
}

function openV2(mountPath: string, groupName: string): CgroupTree | undefined {
  const controllersPath = join(mountPath, 'cgroup.controllers');
  if (!existsSync(controllersPath)) return undefined;
  const controllers = new Set(readFileSync(controllersPath, 'utf8').trim().split(' '));
  if (!controllers.has('cpu') || !controllers.has('memory')) return undefined;
  const base = join(mountPath, groupName);
  // A group that has processes of its own cannot give controllers to its children, the root of the machine excepted:
  // in a container these writes fail, and then there are no cgroups.
  writeFileSync(join(mountPath, 'cgroup.subtree_control'), '+cpu +memory');
  mkdirSync(base, { recursive: true });
  writeFileSync(join(base, 'cgroup.subtree_control'), '+cpu +memory');
  writeFileSync(join(base, 'cpu.weight'), limitsV2(WHOLE_MACHINE)['cpu.weight'] ?? '');
  return makeTree('v2', [{ base, limits: limitsV2 }]);
}

function openV1(mountPath: string, groupName: string): CgroupTree | undefined {
  const controllers = ['cpu', 'memory'] as const;
  const parts = controllers.map((controller) => ({
    base: join(mountPath, controller, groupName),
    limits: (size: PlacedSize) => limitsV1(size)[controller],
  }));
  if (controllers.some((controller) => !existsSync(join(mountPath, controller, 'cgroup.procs')))) return undefined;
  for (const { base } of parts) mkdirSync(base, { recursive: true });
  writeFileSync(join(mountPath, 'cpu', groupName, 'cpu.shares'), limitsV1(WHOLE_MACHINE).cpu['cpu.shares'] ?? '');
  return makeTree('v1', parts);
}

interface TreePart {
  readonly base: string;
  readonly limits: (size: PlacedSize) => Record<string, string>;
}

function makeTree(version: 'v1' | 'v2', parts: readonly TreePart[]): CgroupTree {
  return {
    version,
    place(name, size, pids) {
      for (const { base, limits } of parts) {
        const group = join(base, name);
        mkdirSync(group, { recursive: true });
        for (const [file, value] of Object.entries(limits(size))) writeFileSync(join(group, file), value);
        for (const pid of pids) addProcess(group, pid);
      }
    },
    async remove(name) {
      for (const { base } of parts) await removeGroup(join(base, name));
    },
    async close() {
      for (const { base } of parts) await removeGroup(base).catch(() => undefined);
    },
    list: () => parts.flatMap(({ base }, i) => (i === 0 ? listDirectories(base) : [])),
  };
}

function addProcess(group: string, pid: number): void {
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(pid));
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error; // it has ended meanwhile
  }
}

async function removeGroup(path: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return;
      if (codeOf(error) !== 'EBUSY' || attempt === REMOVE_TRIES) throw error;
    }
    await sleep(10);
  }
}

function listDirectories(path: string): string[] {
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
}
