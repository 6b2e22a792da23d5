import { randomUUID } from 'node:crypto';
import type { EndpointId } from '@tenantry/contract/ids.ts';
import { must } from '../../kernel/assert.ts';
import { PlatformError } from '../../kernel/errors.ts';
import type {
  BranchVolume,
  CatalogChange,
  ComputeAddress,
  ComputeRun,
  ComputeState,
  CreateReplicaVolume,
  CreateVolume,
  DumpSchema,
  EndpointReport,
  EndpointSpec,
  Host,
  HostInfo,
  Moment,
  MomentRequest,
  SeenCatalog,
  StorageSpace,
  VolumeHistory,
  VolumeId,
  VolumeUsage,
} from '../../host/host.ts';
import { Notifier } from '../notifier.ts';
import { FakeVolumes, type FakeVolume } from './fake-volumes.ts';

type Method = Exclude<keyof Host, 'reports'>;

/** Failures that a test asks for. */
export interface FakeHostFaults {
  /** The next calls of a method fail with these, in order; then it works again. */
  readonly next: Map<Method, PlatformError[]>;
  /** Every call fails, and reports break off: the host process is away. */
  isUnavailable: boolean;
  /** False: archiving would save no space. */
  archives: boolean;
  /** Before each call. */
  delayMs: number;
  /** Catalog changes that Postgres refuses: the message, or undefined. */
  refuse: (change: CatalogChange) => string | undefined;
}

interface FakeEndpoint {
  spec: EndpointSpec;
  state: ComputeState;
  run: ComputeRun | null;
  runs: ComputeRun[];
  startedAt: string | null;
  suspendedAt: string | null;
  appliedSeq: number;
  roles: Map<string, string | null>;
  databases: Map<string, string>;
  isSeen: boolean;
  version: number;
  replicaLagBytes: number | null;
}

const noRefusal = (): undefined => undefined;

/** A host in memory that keeps the promises of `Host`; what a test wants to see of it is public. */
export class FakeHost implements Host {
  readonly volumes = new FakeVolumes();
  readonly archived = new Set<VolumeId>();
  readonly endpoints = new Map<EndpointId, FakeEndpoint>();
  /** Of which nothing is left but runs to be acknowledged. */
  readonly removed = new Map<EndpointId, FakeEndpoint>();
  /** `method id`, in the order of the calls that arrived. */
  readonly calls: string[] = [];
  readonly faults: FakeHostFaults = {
    next: new Map(),
    isUnavailable: false,
    archives: true,
    delayMs: 0,
    refuse: noRefusal,
  };
  readonly engines = [17];
  isDiskFull = false;
  readonly #news = new Notifier();
  #version = 0;

  async info(): Promise<HostInfo> {
    await this.#arrive('info', '');
    const capabilities = {
      atomicLiveSnapshot: true,
      cowClone: true,
      crossHostClone: false,
      maxCloneDepth: null,
      childrenPinParent: false,
    };
    return {
      hostId: 'host-1',
      engines: this.engines.map((pgVersion) => ({ pgVersion, fullVersion: `${pgVersion}.1`, source: 'npm' })),
      storage: { backend: 'copy', location: '/fake', capabilities, advice: null },
      isolation: { osUsers: false, cgroups: 'none', advice: null },
      computesAwake: 0,
      computesAwakeMax: 10,
    };
  }

  async createVolume(request: CreateVolume): Promise<void> {
    await this.#arrive('createVolume', request.volumeId);
    this.volumes.create(request);
  }

  async branchVolume(request: BranchVolume): Promise<Moment> {
    await this.#arrive('branchVolume', request.volumeId);
    return this.volumes.branch(request, false);
  }

  async createReplicaVolume(request: CreateReplicaVolume): Promise<void> {
    await this.#arrive('createReplicaVolume', request.volumeId);
    this.volumes.branch({ ...request, at: { kind: 'head' }, historyRetentionSeconds: 0 }, false);
  }

  async createSchemaOnlyVolume(request: BranchVolume): Promise<void> {
    await this.#arrive('createSchemaOnlyVolume', request.volumeId);
    this.volumes.branch(request, true);
  }

  async dumpSchema({ volumeId, at, database }: DumpSchema): Promise<string> {
    await this.#arrive('dumpSchema', volumeId);
    const { lsn } = this.volumes.findMoment(volumeId, at);
    return `CREATE TABLE public.of_${database} (\n    at_${lsn.replace('/', '_')} integer\n);\n`;
  }

  async volumeHistory(volumeId: VolumeId): Promise<VolumeHistory> {
    await this.#arrive('volumeHistory', volumeId);
    return this.volumes.history(volumeId);
  }

  async findMoment(volumeId: VolumeId, at: MomentRequest): Promise<Moment> {
    await this.#arrive('findMoment', volumeId);
    return this.volumes.findMoment(volumeId, at);
  }

  async setHistoryRetention(volumeId: VolumeId, seconds: number): Promise<void> {
    await this.#arrive('setHistoryRetention', volumeId);
    this.volumes.getOrThrow(volumeId).historyRetentionSeconds = seconds;
  }

  async archiveVolume(volumeId: VolumeId): Promise<{ archived: boolean }> {
    await this.#arrive('archiveVolume', volumeId);
    this.volumes.getOrThrow(volumeId);
    const users = [...this.endpoints.values()].filter(({ spec }) => spec.volumeId === volumeId);
    if (users.some(({ state }) => state !== 'idle')) {
      throw new PlatformError('CONFLICT', `Cannot archive volume ${volumeId}: a compute uses it`);
    }
    if (!this.faults.archives) return { archived: false };
    this.archived.add(volumeId);
    return { archived: true };
  }

  async unarchiveVolume(volumeId: VolumeId): Promise<void> {
    await this.#arrive('unarchiveVolume', volumeId);
    this.archived.delete(volumeId);
  }

  async archivedVolumes(): Promise<readonly VolumeId[]> {
    await this.#arrive('archivedVolumes', '');
    return [...this.archived];
  }

  async deleteVolume(volumeId: VolumeId): Promise<void> {
    await this.#arrive('deleteVolume', volumeId);
    if ([...this.endpoints.values()].some(({ spec }) => spec.volumeId === volumeId)) {
      throw new PlatformError('CONFLICT', `Cannot delete volume ${volumeId}: endpoints are on it`);
    }
    this.volumes.delete(volumeId);
    this.archived.delete(volumeId);
  }

  async volumeUsage(volumeId: VolumeId): Promise<VolumeUsage> {
    await this.#arrive('volumeUsage', volumeId);
    return { logicalBytes: 1, exclusiveBytes: 1, sharedBytes: 0 };
  }

  async storageSpace(): Promise<StorageSpace> {
    await this.#arrive('storageSpace', '');
    return {
      totalBytes: 100_000_000,
      freeBytes: 90_000_000,
      diskFreeBytes: 200_000_000,
      isDiskFull: this.isDiskFull,
      pool: null,
    };
  }

  async growStorage(): Promise<StorageSpace> {
    return await this.storageSpace();
  }

  async applySpec(spec: EndpointSpec): Promise<void> {
    await this.#arrive('applySpec', spec.endpointId);
    const volume = this.volumes.getOrThrow(spec.volumeId);
    const present = this.endpoints.get(spec.endpointId);
    if (present && present.spec.generation > spec.generation) return;
    const endpoint = present ?? newFakeEndpoint(spec, volume);
    this.endpoints.set(spec.endpointId, endpoint);
    if (endpoint.spec.volumeId !== spec.volumeId) {
      if (endpoint.state === 'active') this.#stop(endpoint);
      endpoint.isSeen = false;
    }
    Object.assign(endpoint, { spec, roles: volume.roles, databases: volume.databases });
    if (spec.disabled && endpoint.state === 'active') this.#stop(endpoint);
    this.report(spec.endpointId);
  }

  async removeEndpoint(endpointId: EndpointId): Promise<void> {
    await this.#arrive('removeEndpoint', endpointId);
    const endpoint = this.endpoints.get(endpointId);
    if (!endpoint) return;
    this.#stop(endpoint);
    if (endpoint.runs.length > 0) this.removed.set(endpointId, endpoint);
    this.endpoints.delete(endpointId);
  }

  async acquire(endpointId: EndpointId): Promise<ComputeAddress> {
    await this.#arrive('acquire', endpointId);
    const endpoint = this.#find(endpointId);
    const computeId = this.#start(endpoint);
    // A refused change does not keep a compute from starting.
    this.#applyChanges(endpoint, Infinity);
    return { computeId, kind: 'unix', socketPath: '/fake/.s.PGSQL.5432' };
  }

  async suspend(endpointId: EndpointId): Promise<void> {
    await this.#arrive('suspend', endpointId);
    this.#stop(this.#find(endpointId));
  }

  async restart(endpointId: EndpointId): Promise<void> {
    await this.#arrive('restart', endpointId);
    const endpoint = this.#find(endpointId);
    if (endpoint.state !== 'active') {
      throw new PlatformError('CONFLICT', `Cannot restart endpoint ${endpointId}: it is not active`);
    }
    this.#stop(endpoint);
    this.#start(endpoint);
  }

  async applyCatalog(endpointId: EndpointId, seq: number): Promise<void> {
    await this.#arrive('applyCatalog', endpointId);
    const endpoint = this.#find(endpointId);
    this.#start(endpoint);
    const refusal = this.#applyChanges(endpoint, seq);
    if (refusal !== undefined) {
      throw new PlatformError('CATALOG_CHANGE_REFUSED', refusal, { details: { sqlstate: '42501' } });
    }
  }

  async findRoleVerifier(endpointId: EndpointId, role: string): Promise<string | undefined> {
    await this.#arrive('findRoleVerifier', endpointId);
    return this.endpoints.get(endpointId)?.roles.get(role) ?? undefined;
  }

  async *reports(sinceVersion: number, signal: AbortSignal): AsyncGenerator<EndpointReport, void, undefined> {
    let version = sinceVersion;
    while (!signal.aborted) {
      if (this.faults.isUnavailable) throw new PlatformError('HOST_UNAVAILABLE', 'Cannot reach the host');
      const news = this.#news.listen(1_000, signal);
      const [next] = [...this.endpoints, ...this.removed]
        .filter(([, endpoint]) => endpoint.version > version)
        .sort(([, a], [, b]) => a.version - b.version);
      if (!next) {
        await news.heard;
        continue;
      }
      news.cancel();
      version = next[1].version;
      yield toReport(...next);
    }
  }

  async acknowledgeRuns(computeIds: readonly string[]): Promise<void> {
    await this.#arrive('acknowledgeRuns', computeIds.join(' '));
    for (const endpoint of [...this.endpoints.values(), ...this.removed.values()]) {
      endpoint.runs = endpoint.runs.filter((run) => !run.ended || !computeIds.includes(run.computeId));
    }
    for (const [id, { runs }] of this.removed) if (runs.length === 0) this.removed.delete(id);
  }

  /** Makes the endpoint's present state a new report; also after a test has changed it. */
  report(endpointId: EndpointId): void {
    this.#find(endpointId).version = this.#version += 1;
    this.#news.notify();
  }

  /** What a report of the endpoint would say now. */
  reportOf(endpointId: EndpointId): EndpointReport {
    return toReport(endpointId, this.#find(endpointId));
  }

  /** The next call of the method fails. */
  failNext(method: Method, ...errors: PlatformError[]): void {
    this.faults.next.set(method, [...(this.faults.next.get(method) ?? []), ...errors]);
  }

  /** Wakes `reports` so that it sees that the host is away. */
  setUnavailable(isUnavailable: boolean): void {
    this.faults.isUnavailable = isUnavailable;
    this.#news.notify();
  }

  async #arrive(method: Method, id: string): Promise<void> {
    this.calls.push(`${method} ${id}`);
    const { delayMs, isUnavailable, next } = this.faults;
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    if (isUnavailable) throw new PlatformError('HOST_UNAVAILABLE', 'Cannot reach the host');
    const error = next.get(method)?.shift();
    if (error) throw error;
  }

  #find(endpointId: EndpointId): FakeEndpoint {
    const endpoint = this.endpoints.get(endpointId);
    if (!endpoint) throw new PlatformError('NOT_FOUND', `Cannot find endpoint ${endpointId}`);
    return endpoint;
  }

  #start(endpoint: FakeEndpoint): string {
    if (endpoint.spec.disabled) throw new PlatformError('ENDPOINT_DISABLED', 'Cannot start: the endpoint is disabled');
    if (!endpoint.run) {
      this.archived.delete(endpoint.spec.volumeId);
      const startedAt = new Date().toISOString();
      const computeId = `compute-${randomUUID()}`;
      endpoint.run = { computeId, cu: endpoint.spec.minCu, startedAt, until: startedAt, ended: false };
      Object.assign(endpoint, { state: 'active', startedAt, isSeen: true });
      this.report(endpoint.spec.endpointId);
    }
    return must(endpoint.run).computeId;
  }

  #stop(endpoint: FakeEndpoint): void {
    if (endpoint.run) {
      const suspendedAt = new Date().toISOString();
      endpoint.runs.push({ ...endpoint.run, until: suspendedAt, ended: true });
      Object.assign(endpoint, { state: 'idle', run: null, suspendedAt });
    }
    this.report(endpoint.spec.endpointId);
  }

  /** In order, as far as it goes. @returns Postgres' words if one was refused */
  #applyChanges(endpoint: FakeEndpoint, maxSeq: number): string | undefined {
    const changes = endpoint.spec.catalogChanges.filter(({ seq }) => seq <= maxSeq && seq > endpoint.appliedSeq);
    for (const change of changes) {
      const refusal = this.faults.refuse(change);
      if (refusal !== undefined) return refusal;
      applyChange(endpoint, change);
      endpoint.appliedSeq = change.seq;
    }
    if (changes.length > 0) {
      this.volumes.wrote(endpoint.spec.volumeId);
      this.report(endpoint.spec.endpointId);
    }
    return undefined;
  }
}

const newFakeEndpoint = (spec: EndpointSpec, { roles, databases }: FakeVolume): FakeEndpoint => ({
  spec,
  state: 'idle',
  run: null,
  runs: [],
  startedAt: null,
  suspendedAt: null,
  appliedSeq: 0,
  roles,
  databases,
  isSeen: false,
  version: 0,
  replicaLagBytes: null,
});

function toReport(endpointId: EndpointId, endpoint: FakeEndpoint): EndpointReport {
  const catalog: SeenCatalog = {
    roles: [...endpoint.roles].map(([name, verifier]) => ({ name, verifier })),
    databases: [...endpoint.databases].map(([name, owner]) => ({ name, owner })),
  };
  return {
    endpointId,
    version: endpoint.version,
    generation: endpoint.spec.generation,
    state: endpoint.state,
    startedAt: endpoint.startedAt,
    suspendedAt: endpoint.suspendedAt,
    lastActiveAt: endpoint.startedAt,
    failure: null,
    catalogAppliedSeq: endpoint.appliedSeq,
    catalog: endpoint.isSeen ? catalog : null,
    logicalBytes: endpoint.isSeen ? 7_000_000 : null,
    replicaLagBytes: endpoint.replicaLagBytes,
    runs: [...endpoint.runs, ...(endpoint.run ? [endpoint.run] : [])],
  };
}

function applyChange({ roles, databases }: FakeEndpoint, change: CatalogChange): void {
  switch (change.kind) {
    case 'put_role':
      roles.set(change.name, change.verifier);
      return;
    case 'keep_role':
      if (roles.has(change.name)) roles.set(change.name, change.verifier);
      return;
    case 'rename_role':
      roles.set(change.newName, roles.get(change.name) ?? null);
      roles.delete(change.name);
      for (const [name, owner] of databases) if (owner === change.name) databases.set(name, change.newName);
      return;
    case 'drop_role':
      roles.delete(change.name);
      return;
    case 'create_database':
      databases.set(change.name, change.owner);
      return;
    case 'update_database':
      databases.delete(change.name);
      databases.set(change.newName, change.owner);
      return;
    case 'drop_database':
      databases.delete(change.name);
  }
}
