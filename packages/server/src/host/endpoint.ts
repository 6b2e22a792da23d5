import type { EndpointId } from '@tenantry/contract/ids.ts';
import type { CgroupTree } from '../compute/cgroup.ts';
import type { ProcessWatcher } from '../compute/process-watcher.ts';
import { SEEN_STATES, transition, hasProcess, type Effect, type LifeEvent, type LifeState } from '../compute/state.ts';
import { isRestartNeeded } from '../compute/settings.ts';
import type { EngineStore } from '../engines/engine.ts';
import { must, unreachable } from '../kernel/assert.ts';
import { messageOf, PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Secret } from '../kernel/secret.ts';
import { backoffMs } from '../kernel/wait.ts';
import type { BackupSession, VolumeStore } from '../storage/volume-store.ts';
import type { Capacity } from '../wal/control-file.ts';
import type { AwakeSlots } from './awake-slots.ts';
import { ComputeRunner } from './compute-runner.ts';
import type { EndpointStore } from './endpoint-store.ts';
import type { HistoryKeeper } from './history-keeper.ts';
import type { ComputeAddress, EndpointReport, EndpointSpec, VolumeId } from './host.ts';
import type { ReportFeed } from './report-feed.ts';
import type { FoundCompute, RunRecords } from './run-records.ts';
import type { StrayComputes } from './stray-computes.ts';
import { Waiters } from './waiters.ts';

/** What an endpoint needs of its host. */
export interface EndpointDeps {
  readonly engines: EngineStore;
  readonly volumes: VolumeStore;
  readonly history: HistoryKeeper;
  readonly store: EndpointStore;
  readonly feed: ReportFeed;
  /** Whose the runs are that control has not acknowledged. */
  readonly runOwners: Map<string, EndpointId>;
  readonly records: RunRecords;
  readonly slots: AwakeSlots;
  readonly strays: StrayComputes;
  readonly watcher: ProcessWatcher;
  readonly cgroups: CgroupTree | undefined;
  readonly computeAdminPassword: Secret;
  readonly computeLogsDir: string;
  /** Makes the volume of a read replica, or gets it ready to start. @returns what its Postgres needs room for */
  readonly ensureReplica: (spec: EndpointSpec) => Promise<Capacity>;
  readonly log: Log;
}

/** Failures closer together than this count as a row of them. */
const STABLE_RUN_MS = 60_000;
const BACKOFF = { firstMs: 250, maxMs: 15_000 } as const;

/**
 * One endpoint while it is in memory: its spec, its report, and its compute if it has one. All changes of state go
 * through the table of `compute/state.ts`; this class carries out what the table says.
 */
export class Endpoint {
  readonly id: EndpointId;
  readonly #deps: EndpointDeps;
  readonly #waiters = new Waiters<ComputeAddress>();
  readonly #endings = new Set<Promise<void>>();
  #spec: EndpointSpec;
  #report: EndpointReport;
  #state: LifeState;
  #runner: ComputeRunner | undefined;
  #change = Promise.withResolvers<void>();
  #flushing: Promise<void> | undefined;
  #flushTimer: NodeJS.Timeout | undefined;
  #isDirty = false;
  #isDetached = false;
  #isRemoved = false;
  #closeReason: PlatformError | undefined;
  #volumesToGo: readonly VolumeId[] = [];
  #failures = 0;
  #works = 0;
  #nextStartAt = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: EndpointDeps, spec: EndpointSpec, report: EndpointReport) {
    this.#deps = deps;
    this.id = spec.endpointId;
    this.#spec = spec;
    this.#report = report;
    this.#state = report.state === 'failed' ? 'failed' : 'idle';
  }

  get spec(): EndpointSpec {
    return this.#spec;
  }

  get report(): EndpointReport {
    return this.#report;
  }

  get state(): LifeState {
    return this.#state;
  }

  /** Nothing here is worth keeping in memory: all is on the disk. */
  get isAtRest(): boolean {
    const isDown = this.#state === 'idle' || (this.#state === 'failed' && Date.now() > this.#nextStartAt);
    return (
      isDown &&
      !this.#isRemoved &&
      this.#works === 0 &&
      this.#waiters.size === 0 &&
      this.#endings.size === 0 &&
      !this.#flushing &&
      !this.#isDirty
    );
  }

  async acquire(signal?: AbortSignal): Promise<ComputeAddress> {
    for (;;) {
      signal?.throwIfAborted();
      this.#assertPresent();
      if (this.#spec.disabled) throw disabledError();
      if (this.#state !== 'active') return await this.#waitForAddress(signal);
      const runner = must(this.#runner);
      if (runner.isAlive()) return runner.touch();
      await runner.ended;
    }
  }

  /** Brings the compute down once, unless somebody is waiting for it right then. */
  async suspend(): Promise<void> {
    while (this.#state === 'starting' || this.#state === 'restarting') await this.#change.promise;
    this.#dispatch('suspend');
    while (this.#state === 'suspending') await this.#change.promise;
  }

  /** @throws PlatformError CONFLICT if it does not run */
  async restart(): Promise<void> {
    while (this.#state === 'starting') await this.#change.promise;
    if (this.#dispatch('restart') === 'refuse') {
      throw new PlatformError('CONFLICT', 'Cannot restart the compute: it does not run; start it instead');
    }
    await this.acquire();
  }

  /** Brings the compute down, whoever waits, and resolves once nothing of it is left but the files. */
  async shutDown(reason: PlatformError): Promise<void> {
    this.#waiters.reject(reason);
    this.#dispatch('disable');
    while (hasProcess(this.#state)) await this.#change.promise;
    await Promise.all(this.#endings);
    await this.flush();
  }

  /** Shuts it down because the host stops: nothing starts it again, whoever asks and whatever was under way. */
  async close(reason: PlatformError): Promise<void> {
    this.#closeReason = reason;
    await this.shutDown(reason);
  }

  /** Stores a spec and brings a running compute to it; ignores one of an older generation. */
  async applySpec(spec: EndpointSpec): Promise<void> {
    this.#assertPresent();
    const before = this.#spec;
    const isTaken = await this.#exclusive(async () => await this.#takeSpec(spec));
    if (!isTaken) return;
    await this.#leaveVolume();
    if (spec.disabled) return await this.shutDown(disabledError());
    if (before.generation !== spec.generation && this.#state === 'failed') this.#dispatch('suspend');
    if (this.#state !== 'active') return;
    await this.#reconcile();
    await this.#applyPending(Number.MAX_SAFE_INTEGER).catch((error: unknown) => this.#noteRefused(error));
  }

  /** @throws PlatformError CATALOG_CHANGE_REFUSED, and what `acquire` throws */
  async applyCatalog(seq: number): Promise<void> {
    if (this.#report.catalogAppliedSeq >= seq) return;
    do await this.acquire();
    while (!(await this.#applyPending(seq)));
  }

  /** For a clone that cannot be made of files in use as they are: a session of the compute on this volume, if it runs. */
  async openBackup(volumeId: string): Promise<BackupSession | undefined> {
    while (hasProcess(this.#state) && this.#state !== 'active') await this.#change.promise;
    return this.#state === 'active' && this.#runner?.volumeId === volumeId
      ? await this.#runner.openBackup()
      : undefined;
  }

  async findRoleVerifier(role: string): Promise<string | undefined> {
    return this.#state === 'active' ? await this.#runner?.findRoleVerifier(role) : undefined;
  }

  acknowledgeRuns(computeIds: ReadonlySet<string>): void {
    if (this.#isDetached) return;
    const done = this.#report.runs.filter((run) => run.ended && computeIds.has(run.computeId));
    if (done.length === 0) return;
    for (const { computeId } of done) this.#deps.runOwners.delete(computeId);
    this.#patch({ runs: this.#report.runs.filter((run) => !done.includes(run)) });
  }

  /**
   * Takes over a Postgres that was found running; one that is leaving is stopped, as in any suspend. An earlier life is
   * over, also if the report on the disk does not say so: the host died before it did, and after the next life had begun.
   */
  adopt(found: FoundCompute, event: 'found' | 'found_leaving'): void {
    const { computeId } = found.record;
    this.#patch({
      runs: this.#report.runs.map((run) => (run.computeId === computeId ? run : { ...run, ended: true })),
    });
    this.#deps.slots.takeFound(this.id);
    this.#setRunner(ComputeRunner.adopt(this.#runnerOptions(), found));
    this.#dispatch(event);
  }

  /** Notes that a life of the compute ended while no host process was there to see it. */
  closeRuns(): void {
    const runs = this.#report.runs.map((run) => ({ ...run, ended: true }));
    this.#patch({
      runs,
      state: 'idle',
      replicaLagBytes: null,
      suspendedAt: this.#report.suspendedAt ?? new Date().toISOString(),
    });
  }

  /** Called every now and then while it is awake: lets `until` grow on the disk too. */
  async tick(): Promise<void> {
    await this.#runner?.tick();
    this.#noteRun();
  }

  /** Shuts it down for good: nobody may bring it back. What is left is its report. */
  async remove(volumesToGo: readonly VolumeId[]): Promise<void> {
    this.#isRemoved = true;
    this.#volumesToGo = volumesToGo;
    await this.shutDown(removedError());
    this.#isDetached = true;
  }

  /** Leaves the compute running and lets go of it. */
  async detach(): Promise<void> {
    this.#noteRun();
    this.#isDetached = true;
    this.#waiters.reject(new PlatformError('SHUTTING_DOWN', 'Cannot start the compute: the host is stopping'));
    await this.#runner?.detach();
    await this.flush();
  }

  /** Resolves once the disk holds the present report. */
  async flush(): Promise<void> {
    while (this.#isDirty || this.#flushing) {
      this.#flushing ??= this.#write();
      await this.#flushing;
    }
  }

  async #write(): Promise<void> {
    this.#isDirty = false;
    try {
      await this.#deps.store.writeReport(this.#report);
    } catch (error) {
      // Kept in memory and tried again with the next change: a full disk must not keep a compute from running.
      this.#deps.log.error({ endpointId: this.id, error: messageOf(error) }, 'report not written');
    } finally {
      this.#flushing = undefined;
    }
  }

  #dispatch(event: LifeEvent): Effect {
    if (this.#isDetached) return 'none';
    const { next, effect } = transition(this.#state, event);
    const isChanged = next !== this.#state;
    this.#state = next;
    if (isChanged) {
      if (next === 'idle' || next === 'failed') this.#deps.slots.give(this.id);
      this.#deps.log.debug({ endpointId: this.id, event, state: next }, 'compute changed state');
    }
    this.#perform(effect);
    if (isChanged) {
      this.#patch({ state: SEEN_STATES[next] });
      this.#change.resolve();
      this.#change = Promise.withResolvers();
    }
    return effect;
  }

  #perform(effect: Effect): void {
    switch (effect) {
      case 'none':
      case 'refuse':
        return;
      case 'start':
        this.#setRunner(ComputeRunner.start(this.#runnerOptions()));
        return;
      case 'watch':
        return must(this.#runner).watch();
      case 'stop':
        return this.#stop(must(this.#runner));
      case 'serve':
        return this.#serve();
      case 'fail':
      case 'crash':
        return this.#fail(effect);
      case 'schedule':
        setTimeout(() => this.#dispatch('backoff_over'), Math.max(0, this.#nextStartAt - Date.now()));
        return;
      default:
        unreachable(effect);
    }
  }

  #runnerOptions() {
    return { ...this.#deps, spec: this.#spec, appliedSeq: this.#report.catalogAppliedSeq };
  }

  #setRunner(runner: ComputeRunner): void {
    this.#runner = runner;
    runner.on({
      ready: () => this.#dispatch('ready'),
      ended: () => this.#runEnded(runner),
      polled: () => this.#suspendIfUnused(runner),
      // What is seen on a volume that the endpoint has left says nothing of the new one.
      outgrown: () => void this.restart().catch((error: unknown) => this.#noteRefused(error)),
      seen: (patch) => runner.volumeId === this.#spec.volumeId && this.#patch(patch),
    });
    const known = this.#report.runs.some((run) => run.computeId === runner.computeId);
    if (known) return;
    // Usage is counted in the size that the compute has for itself at all times.
    const { startedAt, minCu: cu, computeId } = runner;
    this.#deps.runOwners.set(computeId, this.id);
    const run = { computeId, cu, startedAt, until: startedAt, ended: false };
    this.#patch({ startedAt, runs: [...this.#report.runs, run] });
  }

  #serve(): void {
    const runner = must(this.#runner);
    if (this.#report.failure !== null) this.#patch({ failure: null });
    this.#waiters.resolve(runner.touch());
    void this.#exclusive(async () => await this.#reconcile()).catch((error: unknown) => this.#noteRefused(error));
  }

  #fail(kind: 'fail' | 'crash'): void {
    const runner = must(this.#runner);
    const isStable = Date.now() - Date.parse(runner.startedAt) > STABLE_RUN_MS;
    this.#failures = isStable ? 1 : this.#failures + 1;
    const pauseMs = this.#failures === 1 ? 0 : backoffMs(this.#failures - 1, BACKOFF);
    this.#nextStartAt = Date.now() + pauseMs;
    const error = runner.failure ?? new PlatformError('COMPUTE_START_FAILED', 'Postgres ended unexpectedly');
    this.#patch({ failure: error.message });
    this.#deps.log.warn({ endpointId: this.id, kind, failures: this.#failures, pauseMs, err: error }, 'compute failed');
    this.#waiters.reject(error);
    if (kind === 'crash' && this.#spec.suspendTimeoutSeconds < 0) this.#startAgain();
  }

  /** A compute that must never sleep does not wait for a caller. */
  #startAgain(): void {
    setImmediate(() => void this.acquire().catch(() => undefined));
  }

  #runEnded(runner: ComputeRunner): void {
    this.#noteRun(runner, true);
    this.#patch({ suspendedAt: new Date().toISOString(), replicaLagBytes: null });
    const ending = this.#cleanUp(runner).finally(() => this.#endings.delete(ending));
    this.#endings.add(ending);
    this.#dispatch('ended');
  }

  /** The run's end is on the disk before its record goes. */
  async #cleanUp(runner: ComputeRunner): Promise<void> {
    await this.flush();
    await this.#deps.history.ended(runner.volumeId, {
      makesPoint: !this.#isRemoved && !this.#isLastOn(runner.volumeId),
    });
    await runner.cleanUp();
  }

  #noteRun(runner = this.#runner, ended = false): void {
    const until = new Date().toISOString();
    const lastActiveAt = runner?.lastActiveAt ?? this.#report.lastActiveAt;
    const runs = this.#report.runs.map((run) =>
      run.computeId === runner?.computeId && !run.ended ? { ...run, until, ended } : run,
    );
    this.#patch({ runs, lastActiveAt });
  }

  #suspendIfUnused(runner: ComputeRunner): void {
    const { suspendTimeoutSeconds } = this.#spec;
    if (this.#state !== 'active' || suspendTimeoutSeconds < 0) return;
    if (Date.now() - runner.lastActiveAtMs >= suspendTimeoutSeconds * 1000) this.#dispatch('suspend');
  }

  async #waitForAddress(signal?: AbortSignal): Promise<ComputeAddress> {
    this.#deps.slots.take(this.id);
    return await this.#waiters.wait(() => this.#dispatch('acquire'), signal);
  }

  #stop(runner: ComputeRunner): void {
    runner.stop({ isLast: this.#isLastOn(runner.volumeId) });
  }

  /** Nobody is likely to start on this volume soon: its branch is deleted or restored, or the volume goes. */
  #isLastOn(volumeId: VolumeId): boolean {
    return volumeId !== this.#spec.volumeId || this.#spec.branchDeleted || this.#volumesToGo.includes(volumeId);
  }

  #assertPresent(): void {
    if (this.#isRemoved) throw removedError();
    if (this.#closeReason) throw this.#closeReason;
  }

  async #takeSpec(spec: EndpointSpec): Promise<boolean> {
    // Again: it waited for its turn, and what it writes would bring a removed endpoint back.
    this.#assertPresent();
    if (spec.generation < this.#spec.generation) return false;
    await this.#deps.store.writeSpec(spec);
    const isSwitched = spec.volumeId !== this.#spec.volumeId;
    this.#spec = spec;
    // Changes that are still to come have higher numbers, whichever volume they are for.
    this.#patch({ generation: spec.generation, ...(isSwitched ? { catalog: null, logicalBytes: null } : {}) });
    // At once, so that nobody gets the old address any more.
    if (isSwitched) this.#switchVolume();
    return true;
  }

  /** What runs on the old volume, or has failed on it, ends; who waits, or was served there, is served by the new one. */
  #switchVolume(): void {
    const isWanted = this.#waiters.size > 0 || (hasProcess(this.#state) && this.#state !== 'suspending');
    this.#failures = 0;
    this.#nextStartAt = 0;
    this.#dispatch('disable');
    if (!isWanted || this.#spec.disabled || this.#closeReason) return;
    this.#deps.slots.takeFound(this.id);
    this.#dispatch('acquire');
  }

  /** Resolves once nothing runs on a volume that the endpoint has left. */
  async #leaveVolume(): Promise<void> {
    while (hasProcess(this.#state) && this.#runner?.volumeId !== this.#spec.volumeId) await this.#change.promise;
  }

  /** Brings the running compute to the settings of the spec. */
  async #reconcile(): Promise<void> {
    const runner = this.#runner;
    if (this.#state !== 'active' || !runner) return;
    const settings = runner.settingsFor(this.#spec);
    const isResized = this.#spec.minCu !== runner.minCu || this.#spec.maxCu !== runner.maxCu;
    if (isResized || isRestartNeeded(runner.settings, settings)) await this.restart();
    else runner.reload(settings);
  }

  /** False if the compute is on a volume that the endpoint has left meanwhile. */
  async #applyPending(upToSeq: number): Promise<boolean> {
    return await this.#exclusive(async () => {
      const runner = must(this.#runner);
      if (runner.volumeId !== this.#spec.volumeId) return false;
      const pending = this.#spec.catalogChanges.filter((change) => change.seq <= upToSeq);
      await runner.applyCatalog(pending, this.#report.catalogAppliedSeq);
      return true;
    });
  }

  #noteRefused(error: unknown): void {
    this.#deps.log.warn({ endpointId: this.id, error: messageOf(error) }, 'spec not applied to running compute');
  }

  async #exclusive<T>(work: () => Promise<T>): Promise<T> {
    this.#works++;
    const result = this.#last.then(work).finally(() => this.#works--);
    this.#last = result.catch(() => undefined);
    return await result;
  }

  #patch(patch: Partial<EndpointReport>): void {
    if (this.#isDetached) return;
    const version = this.#deps.feed.nextVersion(this.id);
    this.#report = { ...this.#report, ...patch, version };
    this.#isDirty = true;
    if (this.#flushTimer) return;
    this.#flushTimer = setTimeout(() => {
      this.#flushTimer = undefined;
      void this.flush();
    }, FLUSH_DELAY_MS).unref();
  }
}

/** Lets a burst of changes become one write, and keeps the write off the moment of the wake. */
const FLUSH_DELAY_MS = 200;

const removedError = (): PlatformError =>
  new PlatformError('NOT_FOUND', 'Cannot start the compute: the endpoint has been removed');

const disabledError = (): PlatformError =>
  new PlatformError('ENDPOINT_DISABLED', 'Cannot start the compute: the endpoint is disabled; enable it first');
