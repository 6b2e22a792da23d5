import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Kysely } from 'kysely';
import type { ClientConfig } from 'pg';
import { createApiServer } from '../api/create-api-server.ts';
import type { RateLimitOptions } from '../api/rate-limit.ts';
import { checkPgSettings } from '../compute/settings.ts';
import { DirectoryServer } from '../directory/directory-server.ts';
import { createEngineStore } from '../engines/engine-store.ts';
import { DEFAULT_PG_VERSION } from '../engines/engine.ts';
import { HostClient } from '../host/host-client.ts';
import { must } from '../kernel/assert.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../metadata/embedded-postgres.ts';
import { openMetadata } from '../metadata/open-metadata.ts';
import { findPostmaster } from '../metadata/postmaster.ts';
import type { Tables } from '../metadata/tables.ts';
import { createOperationEngine } from '../operations/engine.ts';
import { bootstrap } from '../platform/accounts/bootstrap.ts';
import { archiveBranches } from '../platform/branches/archive-branches.ts';
import { expireBranches } from '../platform/branches/expire-branches.ts';
import { createPlatformDeps } from '../platform/context.ts';
import { createPlatform, operationDefinitions } from '../platform/create-platform.ts';
import { directoryChanges } from '../platform/directory/directory-changes.ts';
import { DirectoryFeed } from '../platform/directory/directory-feed.ts';
import { findDirectoryEntry, getDirectoryEpoch } from '../platform/directory/directory-rows.ts';
import { ingestReports } from '../platform/reports/ingest-reports.ts';
import { createPasswordBox } from '../platform/roles/password-box.ts';
import { runSchedules } from '../platform/snapshots/run-schedules.ts';
import { countStatus, listReplicaLags } from '../platform/status/read-status.ts';
import { checkHealth } from './control-health.ts';
import { ControlMetrics, type MetricsSources } from './control-metrics.ts';
import { operatorViews } from './control-status.ts';
import { CHECKOUT, type ProcessContext } from './process-context.ts';
import type { RunningProcess } from './protocol.ts';

/** See docs/decisions/0003: how long an answer waits for the operations that it tells of. */
const ANSWER_WAIT_MS = 2_000;
const CREATE_WAIT_MS = 45_000;

const VERSION = (JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) as { version: string }).version;

/** The control process: API, operations, reports of the host, the directory stream, and the metadata Postgres. */
export async function startControl(context: ProcessContext, announce: () => void): Promise<RunningProcess> {
  if (context.config.databaseUrl) return await serve(context, undefined);
  const isAdopted = (await findPostmaster(context.installation.paths.metadata)) !== undefined;
  const embedded = await startMetadataPostgres(context, announce);
  try {
    return await serve(context, embedded);
  } catch (error) {
    // What this start began it ends; what it found running may have clients that do not need control.
    if (!isAdopted) await embedded.stop();
    throw error;
  }
}

async function serve(context: ProcessContext, embedded: EmbeddedPostgres | undefined): Promise<RunningProcess> {
  const { config, installation, secrets, log } = context;
  const { paths } = installation;
  const connection: ClientConfig = embedded?.connection ?? { connectionString: must(config.databaseUrl).reveal() };
  const metadata = await openMetadata({ connection, log });
  await bootstrap({ metadata: metadata.db }, secrets.adminKey);

  const host = new HostClient({ socketPath: paths.hostSocket });
  const directoryServer = new DirectoryServer({
    source: {
      epoch: () => getDirectoryEpoch(metadata.db),
      changes: (sinceSeq, signal) => directoryChanges(deps, sinceSeq, signal),
      find: async (endpointId) => (await findDirectoryEntry(metadata.db, endpointId)) ?? null,
    },
    gateways: config.gatewayWorkers,
    log,
  });
  const deps = createPlatformDeps({
    metadata: metadata.db,
    host,
    directory: new DirectoryFeed({ barrier: (seq) => directoryServer.barrier(seq), log }),
    passwords: createPasswordBox(secrets.passwordBoxKey),
    checkPgSettings,
    settings: {
      domain: config.domain,
      pgPort: config.pgPort,
      minSuspendSeconds: config.minSuspendSeconds,
      answerWaitMs: ANSWER_WAIT_MS,
      createWaitMs: CREATE_WAIT_MS,
    },
    log,
  });
  const engine = createOperationEngine({ metadata: metadata.db, definitions: operationDefinitions, deps, log });
  const platform = createPlatform(deps, engine);
  await directoryServer.listen(paths.controlSocket);

  const stopping = new AbortController();
  const loops = [
    engine.run(stopping.signal),
    ingestReports({ ...deps, engine }, stopping.signal),
    runSchedules({ ...deps, engine }, stopping.signal),
    expireBranches({ ...deps, engine }, stopping.signal),
    archiveBranches({ ...deps, engine }, config.archiveAfterDays, stopping.signal),
  ];
  const health = () =>
    checkHealth({ metadata: metadata.db, host, directory: directoryServer, gateways: config.gatewayWorkers });
  const metrics = makeMetrics(metadata.db, { directory: directoryServer, host, health, log });
  const api = createApiServer({
    platform,
    config: { listenAddress: config.listenAddress, apiPort: config.apiPort, regions: [], domain: config.domain },
    log,
    health,
    onAnswer: (answer) => metrics.answered(answer),
    metricsText: () => metrics.text(),
    ...operatorViews({
      metadata: metadata.db,
      host,
      installation,
      adminKey: secrets.adminKey,
      version: VERSION,
      metadataPid: () => embedded?.pid ?? null,
      health,
    }),
    findEndpoint: (endpointId) => findDirectoryEntry(metadata.db, endpointId),
    version: VERSION,
    rateLimit: rateLimitOf(config.apiRequestsPerMinute),
  });
  const { port } = await api.listen();
  return {
    ready: () => ({ apiPort: port, metadataPid: embedded?.pid ?? null }),
    end: async (mode) => {
      await api.close();
      stopping.abort();
      await Promise.allSettled(loops);
      await directoryServer.close();
      await metadata.close();
      if (mode === 'stop') await embedded?.stop();
      else await embedded?.detach();
    },
  };
}

async function startMetadataPostgres(
  { installation, secrets, log }: ProcessContext,
  onPidChange: () => void,
): Promise<EmbeddedPostgres> {
  const { isRoot, uidBase, runDir, paths } = installation;
  const runAs = isRoot ? { uid: uidBase, gid: uidBase } : null;
  const engines = createEngineStore({
    enginesDir: paths.engines,
    packagesDirs: [join(CHECKOUT, 'node_modules')],
    runAs,
    log,
  });
  return await startEmbeddedPostgres({
    dataDir: paths.metadata,
    runDir,
    engine: await engines.get(DEFAULT_PG_VERSION),
    runAs,
    password: secrets.metadataPassword,
    onPidChange,
    log,
  });
}

const rateLimitOf = (requestsPerMinute: number): RateLimitOptions | undefined =>
  requestsPerMinute === 0 ? undefined : { requestsPerMinute, burst: Math.ceil(requestsPerMinute / 15) };

function makeMetrics(db: Kysely<Tables>, sources: Omit<MetricsSources, 'countStatus' | 'replicaLags'>): ControlMetrics {
  return new ControlMetrics({
    ...sources,
    countStatus: async () => await countStatus(db, new Date()),
    replicaLags: async () => await listReplicaLags(db),
  });
}
