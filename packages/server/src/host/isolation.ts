import { realpathSync } from 'node:fs';
import { openCgroups, type CgroupTree } from '../compute/cgroup.ts';

/** Only root may give limits; the group is named by the run directory, which is one per installation. */
export function openHostCgroups({
  isRoot,
  runDir,
}: {
  readonly isRoot: boolean;
  readonly runDir: string;
}): CgroupTree | undefined {
  if (!isRoot) return undefined;
  const name = realpathSync(runDir)
    .replaceAll(/[^A-Za-z0-9]+/g, '-')
    .replace(/^-/, '');
  return openCgroups({ groupName: `tenantry-${name}` });
}

/** What would keep tenants apart better; null if nothing. */
export function isolationAdvice(isRoot: boolean, cgroups: string): string | null {
  if (!isRoot) return 'Run Tenantry as root: each project gets an OS user and each compute a cgroup of its own.';
  if (cgroups === 'none') return 'Give Tenantry writable cgroups: computes then have CPU and memory limits.';
  return null;
}
