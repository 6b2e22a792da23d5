import type { EndpointId } from '@tenantry/contract/ids.ts';
import { readStatus } from '../compute/postgres-process.ts';
import { findProcessesByCommand, type ProcessIdentity } from '../compute/process-table.ts';
import { hasProcess } from '../compute/state.ts';
import type { Volume } from '../storage/volume-store.ts';
import type { Endpoint, EndpointDeps } from './endpoint.ts';
import { shortOf, type RunRecord } from './run-records.ts';

export interface RecoverOptions {
  readonly deps: EndpointDeps;
  /** Endpoints whose last report says that something runs. */
  readonly unclosed: ReadonlySet<EndpointId>;
  readonly load: (endpointId: EndpointId) => Promise<Endpoint | undefined>;
}

interface FoundProcess {
  readonly identity: ProcessIdentity;
  readonly command: string;
  readonly computeId: string | undefined;
  readonly record: RunRecord | null;
}

/**
 * Brings what runs and what is written down together, before the host takes calls. A Postgres is ours only if its
 * command line names a run directory of ours. Its endpoint takes it over if it has the volume; one that is not to go on
 * is stopped by the endpoint then, and what no endpoint takes over is stopped as a stray. Neither is waited for here: a
 * slow stop is a matter of its own volume. Lives that ended unseen are closed; nothing is left that no one would find.
 */
export async function recoverComputes({ deps, unclosed, load }: RecoverOptions): Promise<void> {
  const { records, volumes, history, cgroups } = deps;
  const running = findProcessesByCommand(records.commandMark);
  const listed = records.list();
  const gone = new Set<EndpointId>(unclosed);
  const kept = new Set<string>();
  for (const { identity, command } of running) {
    const of = listed.find(({ computeId }) => records.isOf(computeId, command));
    const found = { identity, command, computeId: of?.computeId, record: of?.record ?? null };
    const endpoint = found.record ? await load(found.record.endpointId) : undefined;
    if (endpoint && (await adoptBy(endpoint, found, deps))) gone.delete(endpoint.id);
    else await stopAsStray(found, deps);
    if (of) kept.add(of.computeId);
  }
  await Promise.all([...gone].map(async (endpointId) => await closeRuns(await load(endpointId))));
  for (const { computeId, record } of listed) {
    if (kept.has(computeId)) continue;
    if (record && (await volumes.find(record.volumeId))) await history.archive(record.volumeId);
    await records.remove(computeId);
  }
  const keptGroups = new Set([...kept].map(shortOf));
  for (const name of cgroups?.list() ?? [])
    if (!keptGroups.has(name)) await cgroups?.remove(name).catch(() => undefined);
}

/** False if it is not the endpoint's. */
async function adoptBy(
  endpoint: Endpoint,
  { identity, command, record }: FoundProcess,
  { volumes, log }: EndpointDeps,
): Promise<boolean> {
  const volume = record ? await volumes.find(record.volumeId) : undefined;
  if (!record || !volume || !runsOn(command, volume) || hasProcess(endpoint.state)) return false;
  await volumes.claim(record.volumeId);
  const { disabled, volumeId } = endpoint.spec;
  const isToGo = disabled || volumeId !== record.volumeId || record.isApart === true;
  const isLeaving = isToGo || readStatus(volume.dataPath, identity.pid) === 'stopping';
  endpoint.adopt({ record, identity, volume }, isLeaving ? 'found_leaving' : 'found');
  log.info({ endpointId: endpoint.id, computeId: record.computeId, isLeaving }, 'running compute adopted');
  return true;
}

async function stopAsStray(
  { identity, command, computeId, record }: FoundProcess,
  { volumes, strays, log }: EndpointDeps,
): Promise<void> {
  const volume = record
    ? await volumes.find(record.volumeId)
    : (await volumes.list()).find((volume) => runsOn(command, volume));
  const volumeId = volume?.volumeId;
  const dataPath = / -D (.+?) -c /.exec(command)?.[1] ?? '';
  log.info({ computeId, volumeId }, 'running compute of no endpoint is stopped');
  await strays.stop({ identity, dataPath, computeId, volumeId });
}

const runsOn = (command: string, { dataPath }: Volume): boolean => command.includes(`-D ${dataPath} `);

async function closeRuns(endpoint: Endpoint | undefined): Promise<void> {
  endpoint?.closeRuns();
  await endpoint?.flush();
}
