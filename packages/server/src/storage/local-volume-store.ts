import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Engine } from '../engines/engine.ts';
import { assertReachable } from '../engines/reachable-path.ts';
import { must } from '../kernel/assert.ts';
import { syncDirectory } from '../kernel/atomic-file.ts';
import { codeOf, isNoSpace, messageOf, PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Secret } from '../kernel/secret.ts';
import type { Capacity } from '../wal/control-file.ts';
import { VolumeArchives } from './archive/volume-archives.ts';
import { branchVolume } from './branch-volume.ts';
import { DeletedVolumes } from './deleted-volumes.ts';
import { apparentBytes, assertRoom, exclusiveWalBytes, noSpace } from './disk-space.ts';
import { assertVolumeId, findVolume, getVolume } from './find-volume.ts';
import { beginLineage, ensureLineage } from './history/begin-lineage.ts';
import { needsReplay } from './history/choose-base.ts';
import { describeArchived, describeHistory } from './history/describe-history.ts';
import { neededFrom } from './history/lineage.ts';
import { LineageStore } from './history/lineage-store.ts';
import { findHeadOf, findPlan, inLineageOf } from './history/plan-moment.ts';
import { Pruner } from './history/prune-history.ts';
import { aboutEndOfWal, lookAtWal, type WalLook } from './history/wal-look.ts';
import { Layout } from './layout.ts';
import { makeVolume } from './make-volume.ts';
import { openBackend, type StorageSetting } from './open-backend.ts';
import { Replicas } from './replicas.ts';
import { RestorePoints } from './restore-points.ts';
import { StillVolumes } from './still-volumes.ts';
import type { StoreParts } from './store-parts.ts';
import { createTemplateStore, type TemplateStore } from './template-store.ts';
import { Turns } from './turns.ts';
import type {
  BackupSession,
  BranchVolumeOptions,
  CreateVolumeOptions,
  DeleteVolumeOptions,
  FileOwner,
  Moment,
  MomentRequest,
  ReplicaLook,
  ReplicaOptions,
  StorageBackendInfo,
  Volume,
  VolumeHistory,
  VolumeStore,
  VolumeUsage,
} from './volume-store.ts';
import { unpackWal } from './wal-directory.ts';
import { forEachParallel } from './walk-tree.ts';

export interface VolumeStoreOptions {
  /** Absolute. Pool, volumes, templates, WAL and history live below it; made if it is not there. */
  readonly hostDir: string;
  readonly setting: StorageSetting;
  readonly isRoot: boolean;
  /** Builds templates and owns their files; null without root. */
  readonly engineRunAs: FileOwner | null;
  /** SCRAM verifier of the superuser `cloud_admin`. */
  readonly adminVerifier: Secret;
  readonly log: Log;
}

/** Tenants' users pass through, but list nothing. */
const PASSABLE = 0o711;
const OURS = 0o700;

const NOT_A_VOLUME = 'its directory holds no volume record';

/**
 * Opens the volumes of this machine.
 * @throws PlatformError INVALID_REQUEST if the storage setting cannot be had, or tenants cannot reach the directory
 */
export async function createVolumeStore(options: VolumeStoreOptions): Promise<VolumeStore> {
  const { hostDir, setting, isRoot, engineRunAs, adminVerifier, log } = options;
  await ensureDirectory(hostDir, PASSABLE);
  if (isRoot) await assertReachable(hostDir);
  const backend = await openBackend({ hostDir, setting, isRoot, log });
  for (const name of ['', 'templates', 'volumes', 'staging']) await ensureDirectory(join(backend.root, name), PASSABLE);
  for (const name of ['trash', 'points']) await ensureDirectory(join(backend.root, name), OURS);
  await ensureDirectory(join(hostDir, 'wal'), PASSABLE);
  for (const name of ['history', 'archive']) await ensureDirectory(join(hostDir, name), OURS);
  const layout = new Layout(hostDir, backend.root);
  const lineages = new LineageStore({ historyDir: layout.logDir('history'), log });
  const templates = createTemplateStore({
    backend,
    stagingDir: layout.treeDir('staging'),
    runAs: engineRunAs,
    adminVerifier,
    isReferenced: (name) => lineages.isReferenced(name),
    log,
  });
  const parts = { backend, layout, lineages, lineageTurns: new Turns(), still: new StillVolumes(), log };
  return new LocalVolumeStore(parts, templates, await DeletedVolumes.open(join(hostDir, 'deleted-volumes')));
}

class LocalVolumeStore implements VolumeStore {
  readonly backend: StorageBackendInfo;
  readonly #parts: StoreParts;
  readonly #templates: TemplateStore;
  readonly #deleted: DeletedVolumes;
  readonly #points: RestorePoints;
  readonly #pruner: Pruner;
  readonly #archives: VolumeArchives;
  readonly #replicas: Replicas;
  /** Create, branch and delete of one volume take turns. */
  readonly #turns = new Turns();
  readonly #looks = new Map<string, WalLook>();

  constructor(parts: StoreParts, templates: TemplateStore, deleted: DeletedVolumes) {
    this.backend = parts.backend.info;
    this.#parts = parts;
    this.#templates = templates;
    this.#deleted = deleted;
    this.#points = new RestorePoints(parts);
    this.#pruner = new Pruner(parts, this.#points);
    this.#archives = new VolumeArchives(parts, this.#points);
    this.#replicas = new Replicas(parts, this.#points);
  }

  async prepare(engine: Engine): Promise<void> {
    await this.#templates.get(engine);
  }

  async create(options: CreateVolumeOptions): Promise<Volume> {
    const { volumeId } = options;
    await this.#makeOnce(volumeId, () => this.#make(options));
    return must(await this.find(volumeId));
  }

  async branch(options: BranchVolumeOptions): Promise<Moment> {
    const { volumeId, sourceId } = options;
    await this.bringBack(sourceId);
    await this.#makeOnce(volumeId, () => branchVolume(this.#parts, this.#points, options).then(() => undefined));
    const { begin } = await this.#ensureLineage(volumeId);
    return { lsn: begin.lsn, timeUs: begin.timeUs };
  }

  async ensureReplica(options: ReplicaOptions): Promise<Capacity> {
    const { volumeId, primaryId } = options;
    assertVolumeId(volumeId);
    await this.bringBack(primaryId);
    await this.#turns.take(volumeId, async () => {
      const present = await this.find(volumeId);
      if (present && this.#parts.still.isClaimed(volumeId)) return;
      if (present && (await this.#replicas.catchUp(present, primaryId))) return;
      if (present) await this.#remove(volumeId);
      await this.#makeIfAbsent(volumeId, () => this.#replicas.make(options));
      await this.#replicas.follow(await getVolume(this.#parts.layout, volumeId));
    });
    return this.#replicas.capacityFor(await getVolume(this.#parts.layout, volumeId));
  }

  async follow(volumeId: string): Promise<ReplicaLook> {
    return this.#replicas.follow(await getVolume(this.#parts.layout, volumeId));
  }

  async findMoment(volumeId: string, at: MomentRequest): Promise<Moment> {
    await this.bringBack(volumeId);
    const { lsn, timeUs } = await inLineageOf(this.#parts, { volumeId, at }, (found) =>
      findPlan(this.#parts, found, at),
    );
    return { lsn, timeUs };
  }

  async history(volumeId: string): Promise<VolumeHistory> {
    const { lineages } = this.#parts;
    const lineage = (await this.#archives.find(volumeId)) && (await lineages.find(volumeId));
    return lineage ? describeArchived(lineage) : describeHistory(this.#parts, volumeId);
  }

  async setHistoryRetention(volumeId: string, seconds: number): Promise<void> {
    const { layout, lineages, lineageTurns } = this.#parts;
    await lineageTurns.take(volumeId, async () => {
      const present = await lineages.find(volumeId);
      const lineage = present ?? (await ensureLineage(this.#parts, await getVolume(layout, volumeId)));
      if (lineage.retentionSeconds !== seconds) await lineages.put({ ...lineage, retentionSeconds: seconds });
    });
  }

  async claim(volumeId: string): Promise<Volume | undefined> {
    this.#pruner.touch(volumeId);
    for (;;) {
      await this.bringBack(volumeId);
      await this.#parts.still.claim(volumeId);
      const volume = await this.find(volumeId);
      if (volume && !volume.isArchived) return volume;
      this.#parts.still.release(volumeId);
      // It was archived just before the claim.
      if (!volume) return undefined;
    }
  }

  released(volumeId: string): void {
    this.#parts.still.release(volumeId);
    this.#pruner.touch(volumeId);
  }

  async archive(volumeId: string): Promise<{ walSincePoint: number }> {
    const { layout, lineages } = this.#parts;
    const present = await lineages.find(volumeId);
    // All WAL of a read replica is its primary's.
    const isReplica = !present && typeof (await this.find(volumeId))?.replicaOf === 'string';
    if (isReplica) return { walSincePoint: 0 };
    const lineage = present ?? (await this.#ensureLineage(volumeId));
    const look = await lookAtWal({
      walPath: layout.walDir(volumeId),
      historyPath: layout.historyDir(volumeId),
      from: neededFrom(lineage),
      last: this.#looks.get(volumeId),
    });
    this.#looks.set(volumeId, look);
    const end = aboutEndOfWal(look);
    const from = lineage.points.at(-1)?.consistentLsn ?? 0n;
    return { walSincePoint: end === undefined || end < from ? 0 : Number(end - from) };
  }

  async makeRestorePoint(volumeId: string, backup: BackupSession | undefined): Promise<void> {
    const { layout, lineageTurns } = this.#parts;
    await lineageTurns.take(volumeId, async () => {
      const volume = await getVolume(layout, volumeId);
      if (volume.needsPromotion) return;
      const lineage = await ensureLineage(this.#parts, volume);
      const { isClean, lsn } = await findHeadOf(this.#parts, { volume, lineage });
      if (isClean && lineage.points.some((point) => !needsReplay(point, lsn))) return;
      await this.#assertRoom();
      await this.#points.make({ volume, lineage, backup });
    });
  }

  async keepRoom(): Promise<void> {
    await this.#parts.backend.makeRoom();
  }

  async prune(): Promise<void> {
    await this.#pruner.prune();
    await this.#deleted.prune();
  }

  async archiveVolume(volumeId: string): Promise<boolean> {
    assertVolumeId(volumeId);
    return await this.#turns.take(volumeId, async () => {
      if (await this.#archives.find(volumeId)) return true;
      const outcome = await this.#archives.archive(await getVolume(this.#parts.layout, volumeId));
      if (outcome.archived) this.#looks.delete(volumeId);
      else this.#parts.log.info({ volumeId, why: outcome.why }, 'volume not archived');
      return outcome.archived;
    });
  }

  async bringBack(volumeId: string): Promise<void> {
    if (!(await this.#archives.find(volumeId))) return;
    await this.#turns.take(volumeId, () => this.#archives.bringBack(volumeId));
  }

  listArchived(): Promise<readonly string[]> {
    return this.#archives.list();
  }

  async find(volumeId: string): Promise<Volume | undefined> {
    return (await findVolume(this.#parts.layout, volumeId)) ?? (await this.#archives.findVolume(volumeId));
  }

  async list(): Promise<readonly Volume[]> {
    const volumes: Volume[] = [];
    const names = [...(await readdir(this.#parts.layout.treeDir('volumes'))), ...(await this.#archives.list())];
    await forEachParallel(names, async (name) => {
      try {
        volumes.push(must(await this.find(name), NOT_A_VOLUME));
      } catch (error) {
        this.#parts.log.warn({ name, reason: messageOf(error) }, 'not a volume, left alone');
      }
    });
    return volumes.sort((a, b) => (a.volumeId < b.volumeId ? -1 : 1));
  }

  async delete(volumeId: string, { isForGood = false }: DeleteVolumeOptions = {}): Promise<void> {
    assertVolumeId(volumeId);
    this.#archives.giveUp(volumeId);
    await this.#turns.take(volumeId, async () => {
      await this.#remove(volumeId);
      // In this turn, so that no other makes it in between; afterwards, since a full disk then has room for it.
      if (isForGood) await this.#deleted.add(volumeId);
    });
  }

  async usage(volumeId: string): Promise<VolumeUsage> {
    const archive = await this.#archives.find(volumeId);
    if (archive) {
      return { logicalBytes: archive.logicalBytes, exclusiveBytes: archive.compressedBytes, sharedBytes: 0 };
    }
    const volume = await getVolume(this.#parts.layout, volumeId);
    const [logicalBytes, { exclusiveBytes, sharedBytes }, walBytes] = await Promise.all([
      apparentBytes(join(volume.dataPath, 'base')),
      this.#parts.backend.measureTree(this.#parts.layout.volumeDir(volumeId)),
      exclusiveWalBytes(volume.walPath),
    ]);
    return { logicalBytes, exclusiveBytes: exclusiveBytes + walBytes, sharedBytes };
  }

  async recover(): Promise<void> {
    const { backend, layout, lineages, log } = this.#parts;
    for (const directory of [layout.treeDir('staging'), layout.treeDir('trash')]) {
      for (const name of await readdir(directory)) {
        log.info({ name }, 'removing what was half made or half deleted');
        await backend.removeTree(join(directory, name)).catch((error: unknown) => {
          log.warn({ name, reason: messageOf(error) }, 'cannot remove it; the next start tries again');
        });
      }
    }
    await this.#archives.recover();
    const archived = new Set(await this.#archives.list());
    for (const volumeId of archived) await this.#archives.clear(volumeId);
    const logs = await Promise.all([readdir(layout.logDir('wal')), readdir(layout.logDir('history'))]);
    for (const volumeId of new Set(logs.flat())) {
      if (archived.has(volumeId) || existsSync(layout.volumeDir(volumeId))) continue;
      log.info({ volumeId }, 'removing WAL and history without a volume');
      await rm(layout.walDir(volumeId), { recursive: true, force: true });
      await lineages.remove(volumeId);
    }
    await this.#points.recover();
  }

  async #make({ volumeId, engine, owner, historyRetentionSeconds }: CreateVolumeOptions): Promise<void> {
    const { layout } = this.#parts;
    const template = await this.#templates.get(engine);
    const logs = unpackWal(template.packedWalPath, layout.walDir(volumeId), owner).then(() =>
      beginLineage(this.#parts, { volumeId, template, retentionSeconds: historyRetentionSeconds }),
    );
    const { pgVersion, fullVersion: engineVersion } = engine;
    const made = makeVolume(this.#parts, {
      record: { format: 1, volumeId, pgVersion, engineVersion, owner, createdAt: new Date().toISOString() },
      sourceTree: template.treePath,
      finish: () => logs,
    });
    // Nothing may still be writing when we clean up.
    for (const outcome of await Promise.allSettled([made, logs])) {
      if (outcome.status === 'rejected') throw outcome.reason;
    }
  }

  async #makeOnce(volumeId: string, make: () => Promise<void>): Promise<void> {
    assertVolumeId(volumeId);
    await this.#turns.take(volumeId, () => this.#makeIfAbsent(volumeId, make));
  }

  /** Leaves a volume that is there as it is; removes what a failure leaves. The caller has the turn of the id. */
  async #makeIfAbsent(volumeId: string, make: () => Promise<void>): Promise<void> {
    const { layout } = this.#parts;
    if (await this.find(volumeId)) return;
    this.#deleted.assertNotDeleted(volumeId);
    if (existsSync(layout.volumeDir(volumeId))) throw new Error(`Cannot create volume ${volumeId}: ${NOT_A_VOLUME}`);
    try {
      await this.#assertRoom();
      await make();
    } catch (error) {
      // Once it is in its place it is a volume, whatever failed then, and its WAL is all that it starts from.
      if (!existsSync(layout.volumeDir(volumeId))) await this.#removeLogs(volumeId);
      if (error instanceof PlatformError || !isNoSpace(error)) throw error;
      throw noSpace(error);
    }
  }

  /** What is left of one that an earlier try removed in part goes too. The caller has the turn of the id. */
  async #remove(volumeId: string): Promise<void> {
    const { layout, lineageTurns, backend } = this.#parts;
    await this.#archives.remove(volumeId);
    const trash = layout.treeDir('trash');
    // Not as points are named, which others remove from there.
    const prefix = `${volumeId}.gone.`;
    const path = join(trash, `${prefix}${randomBytes(4).toString('hex')}`);
    if (await lineageTurns.take(volumeId, () => renameIfThere(layout.volumeDir(volumeId), path))) {
      await syncDirectory(layout.treeDir('volumes'));
    }
    this.#looks.delete(volumeId);
    this.#replicas.forget(volumeId);
    for (const name of await readdir(trash)) {
      if (name.startsWith(prefix)) await backend.removeTree(join(trash, name));
    }
    await this.#removeLogs(volumeId);
  }

  async #removeLogs(volumeId: string): Promise<void> {
    const { layout, lineages, lineageTurns } = this.#parts;
    await lineageTurns.take(volumeId, async () => {
      const lineage = await lineages.find(volumeId);
      await lineages.remove(volumeId);
      if (lineage) await this.#points.removeUnreferenced(lineage.points);
    });
    await rm(layout.walDir(volumeId), { recursive: true, force: true });
  }

  async #ensureLineage(volumeId: string): ReturnType<typeof ensureLineage> {
    const { layout, lineageTurns } = this.#parts;
    return lineageTurns.take(volumeId, async () => ensureLineage(this.#parts, await getVolume(layout, volumeId)));
  }

  #assertRoom(): Promise<void> {
    const { backend, layout } = this.#parts;
    return assertRoom(layout.hostDir, backend);
  }
}

async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

async function ensureDirectory(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true });
  // mkdir's mode goes through the umask.
  await chmod(path, mode);
}
