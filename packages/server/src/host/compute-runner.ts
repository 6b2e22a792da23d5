import { ActivityMonitor } from '../compute/activity-monitor.ts';
import { backupSessionOn } from '../compute/backup-session.ts';
import { applyCatalogChange, findVerifier, readCatalog, readSize } from '../compute/catalog.ts';
import { connectCompute, isConnectionLost, type ComputeConnection } from '../compute/connection.ts';
import { finishFirstStart, isFirstStart, prepareFirstStart, type FirstStart } from '../compute/first-start.ts';
import { boundLog, computeLogPath } from '../compute/postgres-log.ts';
import { adoptPostgres, spawnPostgres, unexpectedEnd, type PostgresProcess } from '../compute/postgres-process.ts';
import { makeRunDirectory, writeConfigFile, type RunDirectory } from '../compute/run-directory.ts';
import { configSettings, renderConfigFile } from '../compute/settings.ts';
import { canSkipCheckpoint } from '../compute/skip-checkpoint.ts';
import { standbySettings } from '../compute/standby.ts';
import { dropSubscriptions } from '../compute/subscriptions.ts';
import type { Engine } from '../engines/engine.ts';
import { must } from '../kernel/assert.ts';
import { messageOf, PlatformError } from '../kernel/errors.ts';
import { withDeadline } from '../kernel/wait.ts';
import type { BackupSession, Volume } from '../storage/volume-store.ts';
import type { EndpointDeps } from './endpoint.ts';
import type { RunningCompute } from './history-keeper.ts';
import type { CatalogChange, ComputeAddress, EndpointReport, EndpointSpec } from './host.ts';
import { ReplicaFollower } from './replica-follower.ts';
import { shortOf, type FoundCompute, type RunRecord } from './run-records.ts';

export interface RunnerOptions extends EndpointDeps {
  readonly spec: EndpointSpec;
  /** Catalog changes up to this one are applied already. */
  readonly appliedSeq: number;
}

type SeenFacts = Pick<EndpointReport, 'catalog' | 'catalogAppliedSeq' | 'logicalBytes' | 'replicaLagBytes'>;

export interface RunnerListener {
  readonly ready: () => void;
  /** Once, last: nothing runs any more. */
  readonly ended: () => void;
  /** The activity has been looked at just now. */
  readonly polled: () => void;
  readonly seen: (patch: Partial<SeenFacts>) => void;
  /** A read replica must be started again, with room for what its primary has by now. */
  readonly outgrown: () => void;
}

/** Crash recovery of a busy database may take minutes; callers have deadlines of their own. */
const START_MS = 600_000;
const QUERY_MS = 10_000;

/** One life of a compute, from the start, or the adoption, to the end of its last process. */
export class ComputeRunner implements RunningCompute {
  readonly #options: RunnerOptions;
  #record: RunRecord;
  readonly #directory: RunDirectory;
  readonly #ended = Promise.withResolvers<void>();
  #listener: RunnerListener | undefined;
  #settings: Readonly<Record<string, string>>;
  #volume: Volume | undefined;
  #process: PostgresProcess | undefined;
  #monitor: ActivityMonitor | undefined;
  #failure: PlatformError | undefined;
  #isStopping = false;
  #isDetached = false;
  #sizedAtMs = 0;
  #foundBefore = 0;
  #lastTurn: Promise<void> = Promise.resolve();
  #settled: Promise<void> | undefined;

  private constructor(options: RunnerOptions, record: RunRecord) {
    this.#options = options;
    this.#record = record;
    this.#settings = record.settings;
    this.#directory = options.records.directoryOf(record.computeId);
  }

  static start(options: RunnerOptions): ComputeRunner {
    const { spec, records } = options;
    const { endpointId, volumeId, generation, minCu, maxCu } = spec;
    const computeId = records.newComputeId();
    const startedAt = new Date().toISOString();
    const settings = configSettings({ ...spec, ...records.directoryOf(computeId) });
    const record = { computeId, endpointId, volumeId, generation, minCu, maxCu, startedAt, settings };
    const runner = new ComputeRunner(options, record);
    void runner.#start().catch((error: unknown) => runner.#end(error));
    return runner;
  }

  /** The caller calls `watch` or `stop` next. */
  static adopt(options: RunnerOptions, { record, identity, volume }: FoundCompute): ComputeRunner {
    const runner = new ComputeRunner(options, record);
    runner.#volume = volume;
    options.slots.claimVolume(record.volumeId, record.endpointId);
    void options.history.archive(record.volumeId);
    runner.#setProcess(adoptPostgres({ identity, volume, logPath: runner.#logPath, watcher: options.watcher }));
    runner.#foundBefore = options.slots.count - 1;
    // A host that died between the spawn and the cgroup left it outside.
    runner.#placeInCgroup([identity.pid], false);
    return runner;
  }

  get computeId(): string {
    return this.#record.computeId;
  }

  get volumeId(): string {
    return this.#record.volumeId;
  }

  get dataPath(): string {
    return must(this.#volume).dataPath;
  }

  get startedAt(): string {
    return this.#record.startedAt;
  }

  get minCu(): number {
    return this.#record.minCu;
  }

  get maxCu(): number {
    return this.#record.maxCu;
  }

  get settings(): Readonly<Record<string, string>> {
    return this.#settings;
  }

  get failure(): PlatformError | undefined {
    return this.#failure;
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get lastActiveAtMs(): number {
    return this.#monitor?.lastActiveAt ?? Date.parse(this.#record.startedAt);
  }

  get lastActiveAt(): string {
    return new Date(this.lastActiveAtMs).toISOString();
  }

  on(listener: RunnerListener): void {
    this.#listener = listener;
  }

  isAlive(): boolean {
    return this.#process?.isAlive() ?? false;
  }

  /** The address for a client; giving it counts as activity, so that it is not suspended before the client is there. */
  touch(): ComputeAddress {
    this.#monitor?.touch();
    return { computeId: this.computeId, kind: 'unix', socketPath: this.#directory.socketPath };
  }

  /** Waits for a found process to be ready. */
  watch(): void {
    this.#settled = this.#becomeReady().catch(async (error: unknown) => await this.#abandon(error));
  }

  /** @param isLast nobody is likely to start it again: what only makes the next start faster is left out */
  stop({ isLast }: { readonly isLast: boolean }): void {
    this.#isStopping = true;
    void this.#lookAndStop(isLast);
  }

  /** What it is to run with by this spec. A standby never goes below what it runs with. */
  settingsFor(spec: EndpointSpec): Readonly<Record<string, string>> {
    const settings = configSettings({ ...spec, ...this.#directory });
    return spec.type === 'read_only' ? standbySettings(settings, this.#settings) : settings;
  }

  /** Gives a running Postgres other settings, none of which needs a restart. */
  reload(settings: Readonly<Record<string, string>>): void {
    const text = renderConfigFile(settings);
    if (text === renderConfigFile(this.#settings)) return;
    writeConfigFile(this.#directory, text, this.#volume?.owner ?? null);
    this.#settings = settings;
    this.#options.records.write({ ...this.#record, settings });
    this.#process?.reload();
  }

  /**
   * Applies changes in their order; stops at the first that is refused.
   * @throws PlatformError CATALOG_CHANGE_REFUSED; COMPUTE_START_FAILED, to be retried, if the compute ends meanwhile
   */
  async applyCatalog(changes: readonly CatalogChange[], appliedSeq: number): Promise<void> {
    const pending = changes.filter(({ seq }) => seq > appliedSeq).sort((a, b) => a.seq - b.seq);
    if (pending.length === 0) return;
    let connection: ComputeConnection | undefined;
    try {
      connection = await this.#connect();
      await this.#applyOn(connection, pending);
    } catch (error) {
      if (!isConnectionLost(error)) throw error;
      const message = 'Cannot apply the change: the compute ended meanwhile; it will be tried again';
      throw new PlatformError('COMPUTE_START_FAILED', message, { cause: error });
    } finally {
      await connection?.end().catch(() => undefined);
    }
  }

  async openBackup(): Promise<BackupSession> {
    return backupSessionOn(await this.#connect(), this.#options.spec.pgVersion);
  }

  async findRoleVerifier(role: string): Promise<string | undefined> {
    const connection = this.#monitor?.connection;
    if (connection)
      return await withDeadline('read the role', QUERY_MS, async () => await findVerifier(connection, role));
    const own = await this.#connect();
    try {
      return await findVerifier(own, role);
    } finally {
      await own.end();
    }
  }

  /** Slow duties: bounds the log, and reads the size of the databases if anything has happened in them. */
  async tick(): Promise<void> {
    boundLog(this.#logPath);
    const connection = this.#monitor?.connection;
    if (!connection || this.lastActiveAtMs <= this.#sizedAtMs) return;
    try {
      await withDeadline('read the size', QUERY_MS, async () => await this.#readSize(connection));
    } catch (error) {
      this.#logError(error, 'size of databases not read');
    }
  }

  async detach(): Promise<void> {
    this.#isDetached = true;
    await this.#monitor?.close();
  }

  /** After the end, once it is written down. */
  async cleanUp(): Promise<void> {
    try {
      await this.#options.cgroups?.remove(shortOf(this.computeId));
    } catch (error) {
      this.#logError(error, 'cgroup not removed');
    }
    await this.#options.records.remove(this.computeId);
  }

  async #start(): Promise<void> {
    const { engines, volumes, slots, strays, records, spec } = this.#options;
    await strays.gone(this.volumeId);
    slots.claimVolume(this.volumeId, spec.endpointId);
    if (spec.type === 'read_only') await this.#readyReplica();
    const volume = await volumes.claim(this.volumeId);
    if (!volume) throw new PlatformError('COMPUTE_START_FAILED', 'Cannot start the compute: its volume does not exist');
    this.#volume = volume;
    const engine = await engines.get(spec.pgVersion);
    if (this.#isStopping) return this.#end(undefined);
    makeRunDirectory(this.#directory, renderConfigFile(this.#settings), volume.owner);
    boundLog(this.#logPath);
    const first = await prepareFirstStart(volume);
    if (first?.hasSubscriptions) await this.#startApart(engine, first);
    if (this.#isStopping || this.#isDetached) return this.#end(undefined);
    records.write(this.#record);
    const promotes = first?.promotes === true && !first.hasSubscriptions;
    const process = await this.#spawn(engine, { promotes, overrides: {} });
    this.#setProcess(process);
    if (this.#isStopping) return await process.stop();
    this.watch();
  }

  async #readyReplica(): Promise<void> {
    const capacity = await this.#options.ensureReplica(this.#options.spec);
    this.#settings = standbySettings(this.#settings, capacity);
    this.#record = { ...this.#record, settings: this.#settings };
  }

  async #spawn(
    engine: Engine,
    { promotes, overrides }: { readonly promotes: boolean; readonly overrides: Readonly<Record<string, string>> },
  ): Promise<PostgresProcess> {
    return await spawnPostgres({
      engine,
      volume: must(this.#volume),
      promotes,
      overrides,
      runDirectory: this.#directory,
      logPath: this.#logPath,
      onSpawn: (pid) => this.#placeInCgroup([pid], true),
    });
  }

  /** A life before the real one, in which no subscription's worker can start. Nobody adopts it, and its end is ours. */
  async #startApart(engine: Engine, { promotes }: FirstStart): Promise<void> {
    this.#options.records.write({ ...this.#record, isApart: true });
    const process = await this.#spawn(engine, { promotes, overrides: { max_logical_replication_workers: '0' } });
    this.#process = process;
    try {
      await process.waitReady(START_MS);
      await this.#beginFirstStart(await this.#connect());
    } finally {
      await process.stop();
    }
  }

  async #becomeReady(): Promise<void> {
    await this.#process?.waitReady(START_MS);
    const follower = this.#makeFollower();
    const connection = follower
      ? await follower.catchUp(async () => await this.#connect())
      : await this.#applyAtStart();
    if (this.#isStopping || this.#isDetached) return void connection?.end().catch(() => undefined);
    if (!this.isAlive()) throw new PlatformError('COMPUTE_START_FAILED', 'Cannot start the compute: it ended at once');
    this.#monitor = new ActivityMonitor({
      connect: async () => await this.#connect(),
      lastActiveAt: Date.now(),
      onPoll: () => {
        if (follower) follower.look(this.#monitor?.connection);
        else this.#options.history.look(this);
        this.#listener?.polled();
      },
      onCatalogChange: async (own) => await this.#readFacts(own),
    });
    this.#monitor.start(connection, this.#foundBefore);
    this.#placeInCgroup([], false);
    this.#listener?.ready();
  }

  #makeFollower(): ReplicaFollower | undefined {
    const { spec, volumes, log } = this.#options;
    if (spec.type !== 'read_only') return undefined;
    const listener = {
      lagSeen: (replicaLagBytes: number) => this.#listener?.seen({ replicaLagBytes }),
      outgrown: () => this.#listener?.outgrown(),
      lost: (error: PlatformError) => void this.#abandon(error),
    };
    return new ReplicaFollower({ volumeId: this.volumeId, volumes, settings: () => this.#settings, listener, log });
  }

  /** What must be done before the first client comes; mostly nothing, and then no connection is made for it. */
  async #applyAtStart(): Promise<ComputeConnection | undefined> {
    const { spec, appliedSeq } = this.#options;
    const isFirst = isFirstStart(must(this.#volume));
    const pending = spec.catalogChanges.filter(({ seq }) => seq > appliedSeq).sort((a, b) => a.seq - b.seq);
    if (!isFirst && pending.length === 0) return undefined;
    const connection = await this.#connect();
    if (isFirst) await this.#beginFirstStart(connection);
    try {
      await this.#applyOn(connection, pending);
    } catch (error) {
      // A refused change must not keep a compute asleep: who ordered it gets the refusal from `applyCatalog`.
      this.#logError(error, 'catalog change not applied at start');
    }
    if (isFirst) finishFirstStart(must(this.#volume));
    return connection;
  }

  async #beginFirstStart(connection: ComputeConnection): Promise<void> {
    const replayMs = Date.now() - Date.parse(this.startedAt);
    const connect = async (database: string): Promise<ComputeConnection> => await this.#connect(database);
    const subscriptions = await dropSubscriptions({ connection, connect });
    const { endpointId, computeId } = this.#record;
    const { needsPromotion } = must(this.#volume);
    const facts = { endpointId, computeId, replayMs: needsPromotion ? replayMs : null, subscriptions };
    this.#options.log.info(facts, 'first start of a volume');
  }

  async #applyOn(connection: ComputeConnection, changes: readonly CatalogChange[]): Promise<void> {
    await this.#inTurn(async () => await this.#applyInTurn(connection, changes));
  }

  async #applyInTurn(connection: ComputeConnection, changes: readonly CatalogChange[]): Promise<void> {
    const connect = async (database: string): Promise<ComputeConnection> => await this.#connect(database);
    let catalogAppliedSeq: number | undefined;
    try {
      for (const change of changes) {
        await applyCatalogChange({ connection, connect }, change);
        catalogAppliedSeq = change.seq;
      }
    } finally {
      // Both in one report: next to a catalog from before it, an applied change would look undone.
      const catalog = await readCatalog(connection);
      this.#listener?.seen({ catalog, ...(catalogAppliedSeq === undefined ? {} : { catalogAppliedSeq }) });
    }
  }

  async #readFacts(connection: ComputeConnection): Promise<void> {
    await this.#inTurn(async () => this.#listener?.seen({ catalog: await readCatalog(connection) }));
    await this.#readSize(connection);
  }

  /** One session's look at the catalog must not come in after what another has changed meanwhile. */
  async #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#lastTurn.then(work);
    this.#lastTurn = turn.catch(() => undefined);
    await turn;
  }

  async #readSize(connection: ComputeConnection): Promise<void> {
    this.#sizedAtMs = Date.now();
    this.#listener?.seen({ logicalBytes: await readSize(connection) });
  }

  async #lookAndStop(isLast: boolean): Promise<void> {
    await this.#monitor?.lookOnce();
    const connection = this.#monitor?.connection;
    const skipsCheckpoint = isLast && connection !== undefined && (await canSkipCheckpoint(this.dataPath, connection));
    void this.#monitor?.close();
    await this.#stopProcess({ skipsCheckpoint });
  }

  async #stopProcess(options?: { readonly skipsCheckpoint: boolean }): Promise<void> {
    try {
      await this.#process?.stop(options);
    } catch (error) {
      this.#logError(error, 'compute not stopped');
    }
  }

  /** It did not become ready: what there is of it goes, and its end tells the rest. */
  async #abandon(error: unknown): Promise<void> {
    this.#noteFailure(error);
    await this.#stopProcess();
  }

  #setProcess(process: PostgresProcess): void {
    this.#process = process;
    void this.#awaitEnd(process);
  }

  async #awaitEnd(process: PostgresProcess): Promise<void> {
    try {
      const end = await process.ended;
      // A start that failed knows the reason better than the exit code does.
      await this.#settled;
      this.#end(this.#isStopping ? undefined : unexpectedEnd(end));
    } catch (error) {
      this.#end(error);
    }
  }

  #end(error: unknown): void {
    if (this.#isDetached) return;
    if (error !== undefined) this.#noteFailure(error);
    void this.#monitor?.close();
    if (this.#volume) this.#options.volumes.released(this.volumeId);
    this.#options.slots.releaseVolume(this.volumeId, this.#record.endpointId);
    this.#listener?.ended();
    this.#ended.resolve();
  }

  #noteFailure(error: unknown): void {
    if (this.#failure) return;
    if (!(error instanceof PlatformError)) this.#logError(error, 'compute start failed');
    const message = 'Cannot start the compute: a fault of the host; its log says which';
    this.#failure =
      error instanceof PlatformError ? error : new PlatformError('COMPUTE_START_FAILED', message, { cause: error });
  }

  #placeInCgroup(pids: readonly number[], isStarting: boolean): void {
    try {
      this.#options.cgroups?.place(shortOf(this.computeId), { ...this.#record, isStarting }, pids);
    } catch (error) {
      this.#logError(error, 'compute runs without cgroup');
    }
  }

  async #connect(database?: string): Promise<ComputeConnection> {
    const { socketDirectory } = this.#directory;
    const { computeAdminPassword: password, spec } = this.#options;
    const { pgVersion } = spec;
    return await connectCompute({ socketDirectory, password, pgVersion, ...(database ? { database } : {}) });
  }

  get #logPath(): string {
    return computeLogPath(this.#options.computeLogsDir, this.#record.endpointId);
  }

  #logError(error: unknown, message: string): void {
    const { endpointId, computeId } = this.#record;
    this.#options.log.warn({ endpointId, computeId, error: messageOf(error) }, message);
  }
}
