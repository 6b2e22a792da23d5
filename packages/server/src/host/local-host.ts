import { mkdirSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { EndpointId, ProjectId } from '@tenantry/contract/ids.ts';
import { computeLogPath, removeLog } from '../compute/postgres-log.ts';
import { ProcessWatcher } from '../compute/process-watcher.ts';
import { checkPgSettings } from '../compute/settings.ts';
import { tryPgSettings } from '../compute/try-pg-settings.ts';
import type { EngineStore } from '../engines/engine.ts';
import { messageOf, PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Secret } from '../kernel/secret.ts';
import { growStorage, readStorageSpace } from '../storage/space.ts';
import type { FileOwner, VolumeStore } from '../storage/volume-store.ts';
import { AwakeSlots } from './awake-slots.ts';
import { Endpoint, type EndpointDeps } from './endpoint.ts';
import { EndpointStore, newReport } from './endpoint-store.ts';
import { HistoryKeeper } from './history-keeper.ts';
import type {
  BranchVolume,
  ComputeAddress,
  CreateReplicaVolume,
  CreateVolume,
  DumpSchema,
  EndpointReport,
  EndpointSpec,
  Host,
  HostInfo,
  Moment,
  MomentRequest,
  StorageSpace,
  VolumeHistory,
  VolumeId,
  VolumeUsage,
} from './host.ts';
import { HostVolumes } from './host-volumes.ts';
import { isolationAdvice, openHostCgroups } from './isolation.ts';
import { ProjectUids } from './project-uids.ts';
import { recoverComputes } from './recover-computes.ts';
import { RemovedEndpoints } from './removed-endpoints.ts';
import { Pruner } from './pruner.ts';
import { ReportFeed } from './report-feed.ts';
import { RunRecords } from './run-records.ts';
import { SchemaVolumes } from './schema-volumes.ts';
import type { StopBudget } from './stop-budget.ts';
import { stopComputes } from './stop-computes.ts';
import { StrayComputes } from './stray-computes.ts';

export interface LocalHostOptions {
  readonly hostId: string;
  /** Absolute. `endpoints/` and `uids/` below it are ours. */
  readonly hostDir: string;
  /** Short absolute path for sockets and what does not outlive a boot. */
  readonly runDir: string;
  readonly logsDir: string;
  readonly isRoot: boolean;
  /** As root, project n runs as OS user `uidBase + 1 + n`. */
  readonly uidBase: number;
  readonly computeAdminPassword: Secret;
  readonly volumes: VolumeStore;
  readonly engines: EngineStore;
  /** Null: from the memory of this machine. */
  readonly computesAwakeMax: number | null;
  readonly log: Log;
}

/** `Host` with what its own process needs beside it. */
export interface LocalHost extends Host {
  /**
   * Suspends all computes and takes no more calls.
   * @throws PlatformError DEADLINE_EXCEEDED if something still runs at the end of the budget
   */
  stopAll(budget?: StopBudget): Promise<void>;
  /** Lets go of all computes and leaves them running for the next host process. */
  detach(): Promise<void>;
}

const TICK_MS = 30_000;
const ROOM_LOOK_MS = 1000;
/** An endpoint that is at rest leaves the memory within this. */
const UNLOAD_MS = 5000;
/** What an awake compute takes, with sessions in it; only for the default of how many may be awake. */
const COMPUTE_BYTES = 48 * 1024 ** 2;
const PARALLEL_READS = 32;

const hasProcess = ({ state }: EndpointReport): boolean => state !== 'idle' && state !== 'failed';

/**
 * The host of this machine. Finds the computes that an earlier process left running, before it takes calls; it does not
 * wait for those that are to end: who needs them gone does.
 */
export async function createLocalHost(options: LocalHostOptions): Promise<LocalHost> {
  const host = new LocalHostProcess(options);
  await host.recover();
  return host;
}

class LocalHostProcess implements LocalHost {
  readonly #options: LocalHostOptions;
  readonly #deps: EndpointDeps;
  readonly #uids: ProjectUids;
  readonly #removed: RemovedEndpoints;
  readonly #pruner: Pruner;
  readonly #volumes: HostVolumes;
  readonly #schemas: SchemaVolumes;
  readonly #loaded = new Map<EndpointId, Endpoint>();
  readonly #loading = new Map<EndpointId, Promise<Endpoint | undefined>>();
  readonly #timers: NodeJS.Timeout[] = [];
  #isStopping = false;
  /** Logged once, not every second. */
  #roomProblem: string | undefined;

  constructor(options: LocalHostOptions) {
    const { hostDir, runDir, logsDir, computesAwakeMax } = options;
    const computeLogsDir = join(logsDir, 'computes');
    mkdirSync(computeLogsDir, { recursive: true, mode: 0o700 });
    mkdirSync(runDir, { recursive: true, mode: 0o711 });
    mkdirSync(hostDir, { recursive: true, mode: 0o711 });
    this.#options = options;
    this.#uids = new ProjectUids(join(hostDir, 'uids'));
    const parts = {
      ...options,
      computeLogsDir,
      store: new EndpointStore(join(hostDir, 'endpoints'), options.log),
      feed: new ReportFeed(),
      runOwners: new Map(),
      records: new RunRecords(runDir),
      history: new HistoryKeeper(options),
      ensureReplica: async (spec: EndpointSpec) => await this.#volumes.readyReplica(spec),
      slots: new AwakeSlots(computesAwakeMax ?? Math.max(8, Math.floor((totalmem() * 0.75) / COMPUTE_BYTES))),
      watcher: new ProcessWatcher(),
      cgroups: openHostCgroups(options),
    };
    this.#deps = { ...parts, strays: new StrayComputes(parts) };
    this.#removed = new RemovedEndpoints(this.#deps);
    this.#pruner = new Pruner(options);
    this.#volumes = new HostVolumes({
      ...this.#deps,
      pruner: this.#pruner,
      ownerOf: async (projectId) => await this.#ownerOf(projectId),
      openBackup: async (endpointId, volumeId) => await (await this.#find(endpointId))?.openBackup(volumeId),
    });
    this.#schemas = new SchemaVolumes({
      ...this.#deps,
      hostDir,
      createVolume: async (request) => await this.#volumes.create(request),
      branchVolume: async (request) => await this.#volumes.branch(request),
      deleteVolume: async (volumeId) => await this.#volumes.delete(volumeId),
      assertServing: () => this.#assertServing(),
    });
  }

  async recover(): Promise<void> {
    await this.#uids.load();
    const { feed, store, runOwners } = this.#deps;
    const unclosed = new Set<EndpointId>();
    const versions: [EndpointId, number][] = [];
    const removed: EndpointReport[] = [];
    const note = async (endpointId: EndpointId): Promise<void> => {
      const [report, { isRemoved }] = await Promise.all([store.findReport(endpointId), store.tidy(endpointId)]);
      if (isRemoved && !report?.runs.length) return await store.remove(endpointId);
      versions.push([endpointId, report?.version ?? 0]);
      for (const { computeId } of report?.runs ?? []) runOwners.set(computeId, endpointId);
      if (isRemoved && report) return void removed.push(report);
      const isUnclosed = report && (hasProcess(report) || report.runs.some((run) => !run.ended));
      if (isUnclosed) unclosed.add(endpointId);
    };
    const rest = await store.list();
    const noteNext = async (): Promise<void> => {
      for (let endpointId = rest.pop(); endpointId; endpointId = rest.pop()) await note(endpointId);
    };
    await Promise.all(Array.from({ length: PARALLEL_READS }, noteNext));
    feed.load(versions, Date.now());
    for (const report of removed) this.#removed.announce(report);
    await recoverComputes({ deps: this.#deps, unclosed, load: async (id) => await this.#find(id) });
    await this.#schemas.recover();
    this.#pruner.start();
    this.#timers.push(setInterval(() => void this.#tick(), TICK_MS).unref());
    this.#timers.push(setInterval(() => this.#unload(), UNLOAD_MS).unref());
    this.#timers.push(setInterval(() => void this.#keepRoom(), ROOM_LOOK_MS).unref());
  }

  async info(): Promise<HostInfo> {
    const { hostId, engines, volumes, isRoot } = this.#options;
    const { backend } = volumes;
    const cgroups = this.#deps.cgroups?.version ?? 'none';
    return {
      hostId,
      engines: (await engines.summaries()).map(({ pgVersion, fullVersion, source }) => ({
        pgVersion,
        fullVersion,
        source,
      })),
      storage: {
        backend: backend.name,
        location: backend.location,
        capabilities: backend.capabilities,
        advice: backend.advice,
      },
      isolation: { osUsers: isRoot, cgroups, advice: isolationAdvice(isRoot, cgroups) },
      computesAwake: this.#deps.slots.count,
      computesAwakeMax: this.#deps.slots.max,
    };
  }

  async createVolume(request: CreateVolume): Promise<void> {
    this.#assertServing();
    await this.#volumes.create(request);
  }

  async branchVolume(request: BranchVolume): Promise<Moment> {
    this.#assertServing();
    return await this.#volumes.branch(request);
  }

  async createReplicaVolume(request: CreateReplicaVolume): Promise<void> {
    this.#assertServing();
    await this.#volumes.ensureReplica(request);
  }

  async createSchemaOnlyVolume(request: BranchVolume): Promise<void> {
    this.#assertServing();
    await this.#schemas.create(request);
  }

  async dumpSchema(request: DumpSchema): Promise<string> {
    this.#assertServing();
    return await this.#schemas.dump(request);
  }

  async archiveVolume(volumeId: VolumeId): Promise<{ archived: boolean }> {
    this.#assertServing();
    return { archived: await this.#volumes.archive(volumeId) };
  }

  async unarchiveVolume(volumeId: VolumeId): Promise<void> {
    this.#assertServing();
    await this.#options.volumes.bringBack(volumeId);
  }

  async archivedVolumes(): Promise<readonly VolumeId[]> {
    return await this.#options.volumes.listArchived();
  }

  async deleteVolume(volumeId: VolumeId): Promise<void> {
    await this.#volumes.delete(volumeId, { isForGood: true });
  }

  async volumeUsage(volumeId: VolumeId): Promise<VolumeUsage> {
    return await this.#volumes.usage(volumeId);
  }

  async volumeHistory(volumeId: VolumeId): Promise<VolumeHistory> {
    return await this.#volumes.history(volumeId);
  }

  async findMoment(volumeId: VolumeId, at: MomentRequest): Promise<Moment> {
    return await this.#volumes.findMoment(volumeId, at);
  }

  async setHistoryRetention(volumeId: VolumeId, seconds: number): Promise<void> {
    await this.#volumes.setHistoryRetention(volumeId, seconds);
  }

  async storageSpace(): Promise<StorageSpace> {
    return await readStorageSpace(this.#options.hostDir);
  }

  async growStorage(bytesMax: number | null): Promise<StorageSpace> {
    this.#assertServing();
    return await growStorage(this.#options.hostDir, bytesMax, this.#options.log);
  }

  async applySpec(spec: EndpointSpec): Promise<void> {
    this.#assertServing();
    checkPgSettings(spec.pgSettings, spec.pgVersion);
    const { feed, store } = this.#deps;
    const { endpointId, generation } = spec;
    const isPresent = this.#has(endpointId);
    const endpoint = isPresent ? await this.#find(endpointId) : undefined;
    await this.#trySettings(spec, endpoint?.spec);
    if (endpoint) return await endpoint.applySpec(spec);
    // Of an endpoint whose spec was damaged, the report goes on.
    const last = isPresent ? await store.findReport(endpointId) : undefined;
    await store.writeSpec(spec);
    const version = feed.nextVersion(endpointId);
    const report = last ?? { ...newReport(spec, version), runs: this.#removed.take(endpointId) };
    await store.writeReport({ ...report, generation, version });
  }

  async #trySettings({ volumeId, pgVersion, pgSettings }: EndpointSpec, before?: EndpointSpec): Promise<void> {
    const isSame = isDeepStrictEqual(pgSettings, before?.pgSettings ?? {});
    const volume = isSame ? undefined : await this.#deps.volumes.find(volumeId);
    // Of an archived one the next start tells.
    if (volume && !volume.isArchived)
      await tryPgSettings({ engine: await this.#deps.engines.get(pgVersion), volume, pgSettings });
  }

  async removeEndpoint(endpointId: EndpointId, volumesToGo: readonly VolumeId[] = []): Promise<void> {
    if (!this.#has(endpointId)) return;
    const endpoint = await this.#find(endpointId);
    await endpoint?.remove(volumesToGo);
    const report = endpoint?.report ?? (await this.#deps.store.findReport(endpointId));
    await this.#removed.add(report ?? newReport({ endpointId, generation: 0 }, 0));
    removeLog(computeLogPath(this.#deps.computeLogsDir, endpointId));
    this.#loaded.delete(endpointId);
  }

  async acquire(endpointId: EndpointId, signal?: AbortSignal): Promise<ComputeAddress> {
    return await (await this.#getServing(endpointId)).acquire(signal);
  }

  async suspend(endpointId: EndpointId): Promise<void> {
    await (await this.#get(endpointId)).suspend();
  }

  async restart(endpointId: EndpointId): Promise<void> {
    await (await this.#getServing(endpointId)).restart();
  }

  async applyCatalog(endpointId: EndpointId, seq: number): Promise<void> {
    await (await this.#getServing(endpointId)).applyCatalog(seq);
  }

  async findRoleVerifier(endpointId: EndpointId, role: string): Promise<string | undefined> {
    return await this.#loaded.get(endpointId)?.findRoleVerifier(role);
  }

  reports(sinceVersion: number, signal: AbortSignal): AsyncIterable<EndpointReport> {
    return this.#deps.feed.read(sinceVersion, signal, async (endpointId) => {
      const loaded = this.#loaded.get(endpointId);
      return this.#removed.find(endpointId) ?? loaded?.report ?? (await this.#deps.store.findReport(endpointId));
    });
  }

  async acknowledgeRuns(computeIds: readonly string[]): Promise<void> {
    const ids = new Set(computeIds);
    for (const computeId of ids) {
      const endpointId = this.#deps.runOwners.get(computeId);
      if (!endpointId) continue;
      if (this.#removed.has(endpointId)) await this.#removed.acknowledge(endpointId, ids);
      else (await this.#find(endpointId))?.acknowledgeRuns(ids);
    }
  }

  async stopAll(budget?: StopBudget): Promise<void> {
    this.#stopTimers();
    const reason = new PlatformError('SHUTTING_DOWN', 'Cannot start the compute: the host is stopping');
    const endpoints = () => [...this.#loaded.values()];
    await stopComputes({ ...this.#deps, endpoints, reason, budget });
    this.#deps.watcher.close();
    await this.#deps.cgroups?.close();
  }

  async detach(): Promise<void> {
    this.#stopTimers();
    await Promise.all([...this.#loaded.values()].map(async (endpoint) => await endpoint.detach()));
    this.#deps.watcher.close();
  }

  #stopTimers(): void {
    this.#isStopping = true;
    this.#pruner.stop();
    for (const timer of this.#timers) clearInterval(timer);
  }

  #assertServing(): void {
    if (this.#isStopping) throw new PlatformError('SHUTTING_DOWN', 'Cannot serve: the host is stopping');
  }

  async #ownerOf(projectId: ProjectId): Promise<FileOwner | null> {
    if (!this.#options.isRoot) return null;
    const uid = this.#options.uidBase + 1 + (await this.#uids.ensure(projectId));
    return { uid, gid: uid };
  }

  #has(endpointId: EndpointId): boolean {
    return this.#deps.feed.has(endpointId) && !this.#removed.has(endpointId);
  }

  /** The endpoint, for a call that may start its compute. */
  async #getServing(endpointId: EndpointId): Promise<Endpoint> {
    this.#assertServing();
    const endpoint = this.#loaded.get(endpointId) ?? (await this.#get(endpointId));
    // Again: what was loaded meanwhile may be in nobody's list of those to stop or to let go of.
    this.#assertServing();
    return endpoint;
  }

  async #get(endpointId: EndpointId): Promise<Endpoint> {
    const endpoint = await this.#find(endpointId);
    if (endpoint) return endpoint;
    throw this.#has(endpointId)
      ? new PlatformError(
          'COMPUTE_START_FAILED',
          'Cannot start the compute: its settings are being sent again; wait a minute',
        )
      : new PlatformError('NOT_FOUND', 'Cannot find the endpoint: this host does not have it');
  }

  /** The endpoint, loaded from the disk by the first who asks. */
  async #find(endpointId: EndpointId): Promise<Endpoint | undefined> {
    const loaded = this.#loaded.get(endpointId);
    if (loaded) return loaded;
    if (!this.#has(endpointId)) return undefined;
    const present = this.#loading.get(endpointId);
    if (present) return await present;
    const loading = this.#load(endpointId).finally(() => this.#loading.delete(endpointId));
    this.#loading.set(endpointId, loading);
    return await loading;
  }

  /** Undefined if its spec is damaged: a report of generation 0 then has control send it again. */
  async #load(endpointId: EndpointId): Promise<Endpoint | undefined> {
    const { store, feed } = this.#deps;
    const [spec, report] = await Promise.all([store.findSpec(endpointId), store.findReport(endpointId)]);
    if (!spec) {
      await this.#askForSpec(endpointId, report);
      return undefined;
    }
    const endpoint = new Endpoint(this.#deps, spec, report ?? newReport(spec, feed.nextVersion(endpointId)));
    this.#loaded.set(endpointId, endpoint);
    return endpoint;
  }

  async #askForSpec(endpointId: EndpointId, report: EndpointReport | undefined): Promise<void> {
    if (report?.generation === 0 || !this.#has(endpointId)) return;
    const version = this.#deps.feed.nextVersion(endpointId);
    const last = report ?? newReport({ endpointId, generation: 0 }, version);
    const runs = last.runs.map((run) => ({ ...run, ended: true }));
    await this.#deps.store.writeReport({ ...last, generation: 0, state: 'idle', runs, version });
  }

  async #tick(): Promise<void> {
    for (const endpoint of this.#loaded.values()) {
      await endpoint.tick().catch((error: unknown) => {
        this.#options.log.error({ endpointId: endpoint.id, error: messageOf(error) }, 'slow duties failed');
      });
    }
  }

  async #keepRoom(): Promise<void> {
    try {
      await this.#options.volumes.keepRoom();
      this.#roomProblem = undefined;
    } catch (error) {
      const problem = messageOf(error);
      if (problem !== this.#roomProblem)
        this.#options.log.warn({ error: problem }, 'storage cannot take more of the disk');
      this.#roomProblem = problem;
    }
  }

  #unload(): void {
    for (const [endpointId, endpoint] of this.#loaded) if (endpoint.isAtRest) this.#loaded.delete(endpointId);
  }
}
