import { setTimeout as delay } from 'node:timers/promises';
import { readStatus } from '../platform-status.ts';
import type { Target } from '../target.ts';

const RESTART_MAX_MS = 120_000;

/** `tenantry restart`: new processes from the code on disk, under the same Postgres processes. */
export async function restart(target: Target): Promise<void> {
  const pids = async (): Promise<readonly (number | null)[]> => {
    const { processes } = await readStatus(target);
    return [processes.control, processes.host, ...processes.gateways];
  };
  const before = await pids();
  process.kill(target.supervisorPid(), 'SIGHUP');
  console.log('Starting control, host and gateways anew ...');
  const deadline = performance.now() + RESTART_MAX_MS;
  for (;;) {
    await delay(200);
    const now = await pids().catch(() => []);
    if (now.length === before.length && now.every((pid, index) => pid !== null && pid !== before[index])) break;
    if (performance.now() > deadline) throw new Error('The processes did not all come back in time: see the log');
  }
  console.log('Done. Running computes were not touched.');
}
