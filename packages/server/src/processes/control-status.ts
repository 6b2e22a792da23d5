import { timingSafeEqual } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { PlainRoutesOptions } from '../api/plain-routes.ts';
import type { Installation } from '../config/installation.ts';
import type { Host } from '../host/host.ts';
import type { Secret } from '../kernel/secret.ts';
import type { Tables } from '../metadata/tables.ts';
import { hashApiKey } from '../platform/api-keys/api-key-rows.ts';
import { type AwakeEndpoint, countStatus, listAwakeEndpoints } from '../platform/status/read-status.ts';
import { askPart } from './ask-part.ts';
import { readStorageReport } from './control-storage.ts';
import { readProcessesFile } from './previous-run.ts';

interface StatusSources {
  readonly metadata: Kysely<Tables>;
  readonly host: Pick<Host, 'info' | 'storageSpace' | 'growStorage' | 'volumeUsage' | 'volumeHistory'>;
  readonly installation: Pick<Installation, 'paths'>;
  readonly adminKey: Secret;
  readonly version: string;
  /** Of the metadata Postgres that we run; null if it is elsewhere, or being started again. */
  readonly metadataPid: () => number | null;
  readonly health: () => Promise<{ readonly parts: Readonly<Record<string, string>> }>;
}

/** What the operator's command line asks of control. */
export function operatorViews(
  sources: StatusSources,
): Pick<PlainRoutesOptions, 'isOperatorKey' | 'status' | 'storage' | 'growStorage'> {
  const operator = hashApiKey(sources.adminKey.reveal());
  return {
    isOperatorKey: (key) => timingSafeEqual(hashApiKey(key), operator),
    status: async () => await readPlatformStatus(sources),
    storage: async (projectId) => await readStorageReport(sources, projectId),
    growStorage: async (bytesMax) => await sources.host.growStorage(bytesMax),
  };
}

/**
 * What `GET /status` answers, for `tenantry status` and `tenantry doctor`. What a part does not tell in time is null, and
 * `problems` says why.
 */
async function readPlatformStatus(sources: StatusSources): Promise<object> {
  const { metadata, host, installation, version, metadataPid, health } = sources;
  const [{ parts }, counts, awake, info, processes] = await Promise.all([
    health(),
    askPart('count projects, endpoints and operations', () => countStatus(metadata, new Date())),
    askPart('list the awake endpoints', () => listAwakeEndpoints(metadata)),
    askPart('ask the host', (signal) => host.info(signal)),
    readProcessesFile(installation.paths.processes),
  ]);
  return {
    version,
    processes: { ...processes, metadata: metadataPid() },
    parts,
    counts: counts.value,
    awake: awake.value?.map(toAwake) ?? null,
    host: info.value,
    problems: { counts: counts.problem, awake: awake.problem, host: info.problem },
  };
}

const toAwake = (endpoint: AwakeEndpoint): object => ({
  endpoint_id: endpoint.endpointId,
  project_id: endpoint.projectId,
  project_name: endpoint.projectName,
  since: endpoint.startedAt,
  last_active: endpoint.lastActiveAt,
  replica_lag_bytes: endpoint.replicaLagBytes,
});
