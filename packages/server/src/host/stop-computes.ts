import { findProcessesByCommand, signalProcess } from '../compute/process-table.ts';
import { messageOf, type PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { endsWithin, sleep, withDeadline } from '../kernel/wait.ts';
import type { Endpoint } from './endpoint.ts';
import type { RunRecords } from './run-records.ts';
import { STOP_BUDGET, type StopBudget } from './stop-budget.ts';
import type { StrayComputes } from './stray-computes.ts';

export interface StopComputes {
  /** The endpoints that are in memory now. */
  readonly endpoints: () => readonly Endpoint[];
  readonly records: RunRecords;
  readonly strays: StrayComputes;
  /** What those are told who wait for a compute. */
  readonly reason: PlatformError;
  readonly budget?: StopBudget | undefined;
  readonly log: Log;
}

const PARALLEL_STOPS = 8;
const LOOK_MS = 50;

/**
 * Ends every compute of a host, and whatever else it has running on a volume, a few at a time and with a checkpoint each.
 * What still runs near the end of the budget is ended at once: it replays its WAL at its next start.
 * @throws PlatformError DEADLINE_EXCEEDED if something is left after all
 */
export async function stopComputes(options: StopComputes): Promise<void> {
  const { records, budget = STOP_BUDGET, log } = options;
  const startedAt = performance.now();
  const hurry = new AbortController();
  const stopped = stopInOrder(options, hurry.signal);
  const msTo = (ms: number): number => Math.max(1, startedAt + ms - performance.now());
  for (const [afterMs, signal] of [
    [budget.hardenAfterMs, 'SIGQUIT'],
    [budget.killAfterMs, 'SIGKILL'],
  ] as const) {
    if (await endsWithin(stopped, msTo(afterMs))) return;
    hurry.abort();
    const running = findProcessesByCommand(records.commandMark);
    log.warn({ signal, computes: running.length }, 'computes do not stop in time: ending them at once');
    for (const { identity } of running) signalProcess(identity, signal);
  }
  await withDeadline('stop all computes', msTo(budget.giveUpAfterMs), async () => await stopped);
}

/** Those whose turn has not come when `hurry` aborts are told at once: a compute that is ended then has not crashed. */
async function stopInOrder(options: StopComputes, hurry: AbortSignal): Promise<void> {
  const { endpoints, records, strays, reason, log } = options;
  const told = new Set<Endpoint>();
  const close = async (endpoint: Endpoint): Promise<void> => {
    // What is left of one that is down must not keep the others up.
    await endpoint.close(reason).catch((error: unknown) => {
      log.error({ endpointId: endpoint.id, error: messageOf(error) }, 'endpoint not closed in good order');
    });
  };
  // Again, since one may have been on its way from the disk.
  for (;;) {
    const rest = endpoints().filter((endpoint) => !told.has(endpoint));
    if (rest.length === 0) break;
    for (const endpoint of rest) told.add(endpoint);
    const closeNext = async (): Promise<void> => {
      for (let endpoint = rest.pop(); endpoint; endpoint = rest.pop()) await close(endpoint);
    };
    const hurried: Promise<void>[] = [];
    const closeRest = (): void => void hurried.push(...rest.splice(0).map(close));
    hurry.addEventListener('abort', closeRest);
    if (hurry.aborted) closeRest();
    await Promise.all(Array.from({ length: PARALLEL_STOPS }, closeNext));
    await Promise.all(hurried);
  }
  await strays.gone();
  // No endpoint's: it serves a piece of work (a schema) that will be done again.
  for (;;) {
    // One that was spawned just now is not seen as Postgres yet.
    await sleep(LOOK_MS);
    const others = findProcessesByCommand(records.commandMark);
    if (others.length === 0) return;
    for (const { identity } of others) signalProcess(identity, 'SIGQUIT');
  }
}
