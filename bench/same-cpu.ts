import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf } from '@tenantry/server/kernel/errors.ts';

const LIMITS = ['cpu.cfs_period_us', 'cpu.cfs_quota_us', 'cpu.shares', 'cpu.max', 'cpu.weight'];

/**
 * Gives a yardstick the CPU limits of a compute, by a cgroup like its own: a compute's group has a share of the CPU as one
 * against everything else on the machine, pgbench too, and what is compared here is storage.
 * @param yardstick pid of its postmaster, whose children come along
 */
export function limitLike(compute: number, yardstick: number): AsyncDisposable {
  const group = cpuGroupOf(compute);
  const like = group && join(dirname(group), `bench-${yardstick}`);
  if (!group || !like) return { [Symbol.asyncDispose]: async () => undefined };
  mkdirSync(like);
  for (const file of LIMITS) {
    if (existsSync(join(group, file))) writeFileSync(join(like, file), readFileSync(join(group, file)));
  }
  for (const pid of [yardstick, ...childrenOf(yardstick)]) move(pid, like);
  return {
    async [Symbol.asyncDispose]() {
      for (let tries = 0; tries < 100 && readFileSync(join(like, 'cgroup.procs'), 'utf8') !== ''; tries++)
        await delay(50);
      rmdirSync(like);
    },
  };
}

function move(pid: number, group: string): void {
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(pid));
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error; // a worker that has ended meanwhile
  }
}

/** The group under cgroup v1 (`4:cpu,cpuacct:/...`) or v2 (`0::/...`); undefined if it has none of its own. */
function cpuGroupOf(pid: number): string | undefined {
  for (const line of readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n')) {
    const [, controllers = '', path = '/'] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const isCpu = controllers === '' || controllers.split(',').includes('cpu');
    const mounted = join('/sys/fs/cgroup', controllers === '' ? '' : 'cpu', path);
    if (isCpu && basename(path) !== '' && existsSync(join(mounted, 'cgroup.procs'))) return mounted;
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
