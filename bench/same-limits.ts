import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf } from '@tenantry/server/kernel/errors.ts';

/** By controller: the files of cgroup v1 and, all in one directory, of v2. */
const LIMITS = {
  cpu: ['cpu.cfs_period_us', 'cpu.cfs_quota_us', 'cpu.shares', 'cpu.max', 'cpu.weight'],
  memory: ['memory.limit_in_bytes', 'memory.max'],
} as const;
type Controller = keyof typeof LIMITS;

/**
 * Gives a yardstick the limits of a compute, by cgroups like its own. Its share of the CPU is one against everything else
 * on the machine, pgbench too, and each page that a group uses is counted; what is compared here is storage. To be called
 * before the yardstick has read its data.
 * @param yardstick pid of its postmaster, whose children come along
 */
export function limitLike(compute: number, yardstick: number): AsyncDisposable {
  const made = new Set<string>();
  for (const controller of Object.keys(LIMITS) as Controller[]) {
    const group = groupOf(compute, controller);
    if (!group) continue;
    const like = join(dirname(group), `bench-${yardstick}`);
    if (!made.has(like)) mkdirSync(like);
    made.add(like);
    for (const file of LIMITS[controller]) {
      if (existsSync(join(group, file))) writeFileSync(join(like, file), readFileSync(join(group, file)));
    }
    for (const pid of [yardstick, ...childrenOf(yardstick)]) move(pid, like);
  }
  return {
    async [Symbol.asyncDispose]() {
      for (const like of made) await removeGroup(like);
    },
  };
}

async function removeGroup(group: string): Promise<void> {
  for (let tries = 0; tries < 100 && readFileSync(join(group, 'cgroup.procs'), 'utf8') !== ''; tries++) await delay(50);
  rmdirSync(group);
}

function move(pid: number, group: string): void {
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(pid));
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error; // a worker that has ended meanwhile
  }
}

/** The group under cgroup v1 (`4:cpu,cpuacct:/...`) or v2 (`0::/...`); undefined if it has none of its own. */
function groupOf(pid: number, controller: Controller): string | undefined {
  for (const line of readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n')) {
    const [, controllers = '', path = '/'] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const isIt = controllers === '' || controllers.split(',').includes(controller);
    const mounted = join('/sys/fs/cgroup', controllers === '' ? '' : controller, path);
    const hasLimits = LIMITS[controller].some((file) => existsSync(join(mounted, file)));
    if (isIt && basename(path) !== '' && hasLimits) return mounted;
  }
  return undefined;
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => parentOf(child) === pid);
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  } catch {
    return undefined;
  }
}
