import type { EndpointId } from '@tenantry/contract/ids.ts';
import { readStatus } from '../compute/postgres-process.ts';
import { findProcessesByCommand, isAlive, signalProcess, type ProcessIdentity } from '../compute/process-table.ts';
import { PlatformError } from '../kernel/errors.ts';
import { sleep } from '../kernel/wait.ts';
import type { Endpoint, EndpointDeps } from './endpoint.ts';
import { shortOf } from './run-records.ts';

export interface RecoverOptions {
  readonly deps: EndpointDeps;
  /** Endpoints whose last report says that something runs. */
  readonly unclosed: ReadonlySet<EndpointId>;
  readonly load: (endpointId: EndpointId) => Promise<Endpoint | undefined>;
}

const STOP_MS = 60_000;

/**
 * Brings what runs and what is written down together, before the host takes calls. A Postgres is ours only if its
 * command line names a run directory of ours; it is adopted if that directory's record, its endpoint and its volume
 * agree with it, and stopped otherwise. Lives that ended unseen are closed; nothing is left that no one would find.
 */
export async function recoverComputes({ deps, unclosed, load }: RecoverOptions): Promise<void> {
  const { records, volumes, history, cgroups, log } = deps;
  const running = findProcessesByCommand(records.commandMark);
  const gone = new Set<EndpointId>(unclosed);
  const kept = new Set<string>();
  for (const { computeId, record } of records.list()) {
    const mark = records.directoryOf(computeId).configPath;
    const process = running.find(({ command }) => command.includes(mark));
    if (!process || !record) continue;
    const endpoint = await load(record.endpointId);
    const volume = await volumes.find(record.volumeId);
    const isOurs = endpoint?.spec.volumeId === record.volumeId && volume && !record.isApart;
    if (!isOurs || !process.command.includes(`-D ${volume.dataPath} `)) continue;
    if (endpoint.spec.disabled || readStatus(volume.dataPath, process.identity.pid) === 'stopping') continue;
    await volumes.claim(record.volumeId);
    endpoint.adopt({ record, identity: process.identity, volume });
    kept.add(computeId);
    gone.delete(record.endpointId);
    log.info({ endpointId: record.endpointId, computeId }, 'running compute adopted');
  }
  const isKept = (command: string): boolean => [...kept].some((id) => command.includes(records.directoryOf(id).path));
  await Promise.all(
    running.filter(({ command }) => !isKept(command)).map(async ({ identity }) => await stopFound(identity)),
  );
  await Promise.all([...gone].map(async (endpointId) => await closeRuns(await load(endpointId))));
  for (const { computeId, record } of records.list()) {
    if (kept.has(computeId)) continue;
    if (record && (await volumes.find(record.volumeId))) await history.archive(record.volumeId);
    await records.remove(computeId);
  }
  const keptGroups = new Set([...kept].map(shortOf));
  for (const name of cgroups?.list() ?? [])
    if (!keptGroups.has(name)) await cgroups?.remove(name).catch(() => undefined);
}

async function closeRuns(endpoint: Endpoint | undefined): Promise<void> {
  endpoint?.closeRuns();
  await endpoint?.flush();
}

async function stopFound(identity: ProcessIdentity): Promise<void> {
  signalProcess(identity, 'SIGINT');
  const deadlineAt = performance.now() + STOP_MS;
  while (isAlive(identity)) {
    if (performance.now() > deadlineAt) {
      signalProcess(identity, 'SIGKILL');
      throw new PlatformError('DEADLINE_EXCEEDED', 'Cannot start the host: a compute of an earlier one does not stop');
    }
    await sleep(5);
  }
}
