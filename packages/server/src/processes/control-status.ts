import type { Kysely } from 'kysely';
import type { PlainRoutesOptions } from '../api/plain-routes.ts';
import type { Installation } from '../config/installation.ts';
import type { Host } from '../host/host.ts';
import type { Tables } from '../metadata/tables.ts';
import { countStatus, listAwakeEndpoints } from '../platform/status/read-status.ts';
import { readStorageReport } from './control-storage.ts';
import { readProcessesFile } from './previous-run.ts';

interface StatusSources {
  readonly metadata: Kysely<Tables>;
  readonly host: Pick<Host, 'info' | 'storageSpace' | 'growStorage' | 'volumeUsage' | 'volumeHistory'>;
  readonly installation: Installation;
  readonly version: string;
  /** Of the metadata Postgres that we run; null if it is elsewhere, or being started again. */
  readonly metadataPid: () => number | null;
  readonly health: () => Promise<{ readonly parts: Readonly<Record<string, string>> }>;
}

/** What the operator's command line asks of control. */
export function operatorViews(sources: StatusSources): Pick<PlainRoutesOptions, 'status' | 'storage' | 'growStorage'> {
  return {
    status: async () => await readPlatformStatus(sources),
    storage: async (projectId) => await readStorageReport(sources, projectId),
    growStorage: async (bytesMax) => await sources.host.growStorage(bytesMax),
  };
}

/** What `GET /status` answers, for `tenantry status` and `tenantry doctor`. */
async function readPlatformStatus(sources: StatusSources): Promise<object> {
  const { metadata, host, installation, version, metadataPid, health } = sources;
  const [{ parts }, counts, awake, info, processes] = await Promise.all([
    health(),
    countStatus(metadata, new Date()),
    listAwakeEndpoints(metadata),
    host.info(),
    readProcessesFile(installation.paths.processes),
  ]);
  return {
    version,
    processes: { ...processes, metadata: metadataPid() },
    parts,
    counts,
    awake: awake.map((endpoint) => ({
      endpoint_id: endpoint.endpointId,
      project_id: endpoint.projectId,
      project_name: endpoint.projectName,
      since: endpoint.startedAt,
      last_active: endpoint.lastActiveAt,
      replica_lag_bytes: endpoint.replicaLagBytes,
    })),
    host: info,
  };
}
