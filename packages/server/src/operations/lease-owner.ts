import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { codeOf } from '../kernel/errors.ts';

/**
 * A name for one engine of this process, written into the leases that it takes: `<where its pid means something>/<pid>/
 * <random>`. It lets a later process of the same machine see that the owner is gone, and not wait for its lease to end.
 */
export function newLeaseOwner(): string {
  return `${pidSpace()}/${process.pid}/${randomUUID()}`;
}

/**
 * True only if the owner's process has surely ended: its pid was given on this boot of this machine and no such process
 * exists. A pid that was given again counts as alive; then its lease simply runs out.
 */
export function isKnownDead(owner: string): boolean {
  const [space, pidText] = owner.split('/');
  const pid = Number(pidText);
  if (space !== pidSpace() || !Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return codeOf(error) === 'ESRCH';
  }
}

/** Equal for two processes only if a pid means the same process to both: the boot, and on Linux the pid namespace. */
function pidSpace(): string {
  if (process.platform !== 'linux') return hostname();
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return `${bootId}.${readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')}`;
}
