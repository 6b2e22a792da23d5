import { mkdirSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { randomText } from '@tenantry/contract/ids.ts';
import { readFileIfExists, syncDirectory, writeFileAtomic } from '../kernel/atomic-file.ts';
import { messageOf } from '../kernel/errors.ts';
import { withDeadline } from '../kernel/wait.ts';
import { schemaText } from '../pgdump/schema-text.ts';
import type { HistoryKeeper } from './history-keeper.ts';
import type { BranchVolume, CreateVolume, DumpSchema, Moment, VolumeId } from './host.ts';
import { withPrivateCompute, type PrivateComputeDeps } from './schema-compute.ts';
import { copySchema, dumpDatabase } from './schema-copy.ts';
import type { StrayComputes } from './stray-computes.ts';

export interface SchemaVolumesDeps extends PrivateComputeDeps {
  readonly hostDir: string;
  readonly history: HistoryKeeper;
  readonly strays: StrayComputes;
  readonly createVolume: (request: CreateVolume) => Promise<void>;
  readonly branchVolume: (request: BranchVolume) => Promise<Moment>;
  readonly deleteVolume: (volumeId: VolumeId) => Promise<void>;
}

/** Volumes of this name are clones for the length of one call. What a crash leaves of them goes at the next start. */
const TEMPORARY = 'tmp-';
const TEMPORARY_RETENTION_SECONDS = 3600;
/** Computes of this kind at a time; who comes later waits. */
const PARALLEL = 4;
const TURN_MS = 60_000;

/** What the host does with schemas. Works on clones: the source may run, sleep, or have no endpoint. */
export class SchemaVolumes {
  readonly #deps: SchemaVolumesDeps;
  readonly #marksDir: string;
  readonly #making = new Map<VolumeId, Promise<void>>();
  /** What a crash has left half made, while it is being removed. */
  readonly #discarding = new Map<VolumeId, Promise<void>>();
  #running = 0;
  readonly #queue: (() => void)[] = [];

  constructor(deps: SchemaVolumesDeps) {
    this.#deps = deps;
    this.#marksDir = join(deps.hostDir, 'schema-only');
    mkdirSync(this.#marksDir, { recursive: true, mode: 0o700 });
  }

  /** Removes what a crash has left: now, or once the Postgres that still runs on it has ended. Called before any other call. */
  async recover(): Promise<void> {
    const { volumes, strays, log } = this.#deps;
    const left = (await volumes.list()).filter(({ volumeId }) => volumeId.startsWith(TEMPORARY));
    for (const { volumeId } of left) {
      const deleting = this.#deleteTemporary(volumeId);
      if (!strays.isOn(volumeId)) await deleting;
    }
    for (const volumeId of readdirSync(this.#marksDir)) {
      log.info({ volumeId }, 'removing a schema-only volume that was half made');
      const isHeld = strays.isOn(volumeId);
      const discarding = this.#discard(volumeId);
      if (isHeld) this.#discardLater(volumeId, discarding);
      else await discarding;
    }
  }

  /** If it fails, the mark is still there: whoever makes the volume tries again, and so does the next start. */
  #discardLater(volumeId: VolumeId, discarding: Promise<void>): void {
    const done = discarding
      .catch((error: unknown) => this.#deps.log.error({ volumeId, error: messageOf(error) }, 'volume not removed'))
      .finally(() => this.#discarding.delete(volumeId));
    this.#discarding.set(volumeId, done);
  }

  /** @throws PlatformError NOT_FOUND if there is no such volume or database, MOMENT_OUT_OF_HISTORY */
  async dump({ volumeId, projectId, at, database }: DumpSchema): Promise<string> {
    return await this.#withClone({ source: volumeId, projectId, at }, async (cloneId) => {
      const options = { volumeId: cloneId, isThrownAway: true };
      return await withPrivateCompute(this.#deps, options, async (postgres) =>
        schemaText(await dumpDatabase(postgres, database, { withDatabase: false })),
      );
    });
  }

  /** Single flight; whole or not at all. */
  async create(request: BranchVolume): Promise<void> {
    const { volumeId } = request;
    const making = this.#making.get(volumeId) ?? this.#create(request).finally(() => this.#making.delete(volumeId));
    this.#making.set(volumeId, making);
    await making;
  }

  async #create(request: BranchVolume): Promise<void> {
    const { volumes } = this.#deps;
    const { volumeId, projectId, source, at } = request;
    await this.#discarding.get(volumeId);
    if ((await readFileIfExists(this.#markOf(volumeId))) !== undefined) await this.#discard(volumeId);
    if (await volumes.find(volumeId)) return;
    await this.#withClone({ source, projectId, at }, async (cloneId) => {
      await writeFileAtomic(this.#markOf(volumeId), '');
      try {
        await this.#fill(request, cloneId);
      } catch (error) {
        await this.#discard(volumeId);
        throw error;
      }
      const mark = this.#markOf(volumeId);
      await rm(mark);
      // A mark that a power failure brings back would have the finished volume removed.
      await syncDirectory(dirname(mark));
    });
  }

  /**
   * A new volume from the template, in which the schema is made by SQL: no file of it, no WAL and no history has ever
   * held a row of the source.
   */
  async #fill({ volumeId, projectId, historyRetentionSeconds }: BranchVolume, cloneId: VolumeId): Promise<void> {
    const deps = this.#deps;
    await withPrivateCompute(deps, { volumeId: cloneId, isThrownAway: true }, async (from) => {
      const { pgVersion } = from;
      await deps.createVolume({ volumeId, projectId, pgVersion, historyRetentionSeconds });
      await withPrivateCompute(deps, { volumeId, isThrownAway: false }, async (to) => await copySchema(from, to));
    });
    await deps.history.ended(volumeId, { makesPoint: true });
  }

  async #withClone<T>(
    request: Pick<BranchVolume, 'source' | 'projectId' | 'at'>,
    work: (cloneId: VolumeId) => Promise<T>,
  ): Promise<T> {
    const cloneId = `${TEMPORARY}${randomText(16)}`;
    await this.#takeTurn();
    try {
      await this.#deps.branchVolume({
        ...request,
        volumeId: cloneId,
        historyRetentionSeconds: TEMPORARY_RETENTION_SECONDS,
      });
      return await work(cloneId);
    } finally {
      await this.#deleteTemporary(cloneId);
      this.#giveTurn();
    }
  }

  /** It must not hide how the work itself ended; the next start of the host tries again. */
  async #deleteTemporary(volumeId: VolumeId): Promise<void> {
    try {
      await this.#deps.deleteVolume(volumeId);
    } catch (error) {
      this.#deps.log.error({ volumeId, error: messageOf(error) }, 'temporary clone not deleted');
    }
  }

  async #discard(volumeId: VolumeId): Promise<void> {
    await this.#deps.deleteVolume(volumeId);
    await rm(this.#markOf(volumeId), { force: true });
  }

  async #takeTurn(): Promise<void> {
    if (this.#running < PARALLEL) {
      this.#running++;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#queue.push(resolve);
    try {
      await withDeadline('read the schema while others are being read', TURN_MS, async () => await promise);
    } catch (error) {
      const index = this.#queue.indexOf(resolve);
      if (index === -1) this.#giveTurn();
      else this.#queue.splice(index, 1);
      throw error;
    }
  }

  /** The turn goes over to who waits longest. */
  #giveTurn(): void {
    const next = this.#queue.shift();
    if (next) next();
    else this.#running--;
  }

  #markOf(volumeId: VolumeId): string {
    return join(this.#marksDir, volumeId);
  }
}
