import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, lchown, mkdir, readdir, rename, rm, symlink } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Engine } from '../engines/engine.ts';
import { assertReachable } from '../engines/reachable-path.ts';
import { assert, must } from '../kernel/assert.ts';
import { syncDirectory } from '../kernel/atomic-file.ts';
import { codeOf, isNoSpace, messageOf, PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Secret } from '../kernel/secret.ts';
import { dataPathOf, type StorageBackend } from './backends/backend.ts';
import { allocatedBytes, apparentBytes, hasRoom, noSpace } from './disk-space.ts';
import { openBackend, type StorageSetting } from './open-backend.ts';
import { createTemplateStore, type TemplateStore } from './template-store.ts';
import { readVolumeRecord, writeVolumeRecord } from './volume-record.ts';
import type {
  CreateVolumeOptions,
  FileOwner,
  StorageBackendInfo,
  Volume,
  VolumeStore,
  VolumeUsage,
} from './volume-store.ts';
import { unpackWal } from './wal-directory.ts';
import { forEachParallel } from './walk-tree.ts';

export interface VolumeStoreOptions {
  /** Absolute. Pool, volumes, templates and WAL live below it; made if it is not there. */
  readonly hostDir: string;
  readonly setting: StorageSetting;
  readonly isRoot: boolean;
  /** Builds templates and owns their files; null without root. */
  readonly engineRunAs: FileOwner | null;
  /** SCRAM verifier of the superuser `cloud_admin`. */
  readonly adminVerifier: Secret;
  readonly log: Log;
}

interface StoreParts {
  readonly backend: StorageBackend;
  readonly templates: TemplateStore;
  readonly hostDir: string;
  readonly log: Log;
}

/** Tenants' users pass through, but list nothing. */
const PASSABLE = 0o711;

const NOT_A_VOLUME = 'its directory holds no volume record';

/** Ids become file names. */
const VOLUME_ID = /^[a-z0-9][a-z0-9-]{0,62}$/;

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
  await ensureDirectory(join(backend.root, 'trash'), 0o700);
  await ensureDirectory(join(hostDir, 'wal'), PASSABLE);
  const stagingDir = join(backend.root, 'staging');
  const templates = createTemplateStore({ backend, stagingDir, runAs: engineRunAs, adminVerifier, log });
  return new LocalVolumeStore({ backend, templates, hostDir, log });
}

class LocalVolumeStore implements VolumeStore {
  readonly backend: StorageBackendInfo;
  readonly #parts: StoreParts;
  /** The last work begun on each volume; create and delete of one volume take turns. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(parts: StoreParts) {
    this.backend = parts.backend.info;
    this.#parts = parts;
  }

  async prepare(engine: Engine): Promise<void> {
    await this.#parts.templates.get(engine);
  }

  async create(options: CreateVolumeOptions): Promise<Volume> {
    const { volumeId } = options;
    assertVolumeId(volumeId);
    return this.#inTurn(volumeId, async () => {
      const present = await this.find(volumeId);
      if (present) return present;
      if (existsSync(this.#volumeDir(volumeId))) throw new Error(`Cannot create volume ${volumeId}: ${NOT_A_VOLUME}`);
      try {
        return await this.#make(options);
      } catch (error) {
        if (error instanceof PlatformError || !isNoSpace(error)) throw error;
        throw noSpace(error);
      }
    });
  }

  async find(volumeId: string): Promise<Volume | undefined> {
    assertVolumeId(volumeId);
    const record = await readVolumeRecord(this.#volumeDir(volumeId));
    if (!record) return undefined;
    const { pgVersion, owner } = record;
    return {
      volumeId,
      pgVersion,
      owner,
      dataPath: dataPathOf(this.#volumeDir(volumeId)),
      walPath: this.#walDir(volumeId),
    };
  }

  async list(): Promise<readonly Volume[]> {
    const volumes: Volume[] = [];
    await forEachParallel(await readdir(this.#dir('volumes')), async (name) => {
      try {
        volumes.push(must(await this.find(name), NOT_A_VOLUME));
      } catch (error) {
        this.#parts.log.warn({ name, reason: messageOf(error) }, 'not a volume, left alone');
      }
    });
    return volumes.sort((a, b) => (a.volumeId < b.volumeId ? -1 : 1));
  }

  async delete(volumeId: string): Promise<void> {
    assertVolumeId(volumeId);
    await this.#inTurn(volumeId, async () => {
      const trash = join(this.#dir('trash'), unique(volumeId));
      try {
        await rename(this.#volumeDir(volumeId), trash);
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return;
        throw error;
      }
      await syncDirectory(this.#dir('volumes'));
      await this.#parts.backend.removeTree(trash);
      await rm(this.#walDir(volumeId), { recursive: true, force: true });
    });
  }

  async usage(volumeId: string): Promise<VolumeUsage> {
    const volume = await this.find(volumeId);
    if (!volume) throw new PlatformError('NOT_FOUND', `Cannot measure volume ${volumeId}: it does not exist`);
    const [logicalBytes, { exclusiveBytes, sharedBytes }, walBytes] = await Promise.all([
      apparentBytes(join(volume.dataPath, 'base')),
      this.#parts.backend.measureTree(this.#volumeDir(volumeId)),
      allocatedBytes(volume.walPath),
    ]);
    return { logicalBytes, exclusiveBytes: exclusiveBytes + walBytes, sharedBytes };
  }

  async recover(): Promise<void> {
    const { backend, log } = this.#parts;
    for (const directory of [this.#dir('staging'), this.#dir('trash')]) {
      for (const name of await readdir(directory)) {
        log.info({ name }, 'removing what was half made or half deleted');
        await backend.removeTree(join(directory, name)).catch((error: unknown) => {
          log.warn({ name, reason: messageOf(error) }, 'cannot remove it; the next start tries again');
        });
      }
    }
    for (const volumeId of await readdir(join(this.#parts.hostDir, 'wal'))) {
      if (existsSync(this.#volumeDir(volumeId))) continue;
      log.info({ volumeId }, 'removing WAL without a volume');
      await rm(this.#walDir(volumeId), { recursive: true, force: true });
    }
  }

  /** Everything in a staging tree first; the rename is the commit, and the sync after it makes it last. */
  async #make({ volumeId, engine, owner }: CreateVolumeOptions): Promise<Volume> {
    const { backend, templates, hostDir } = this.#parts;
    await this.#assertRoom();
    const template = await templates.get(engine);
    const staging = join(this.#dir('staging'), unique(volumeId));
    const walDir = this.#walDir(volumeId);
    try {
      await settleAll([
        backend.cloneTree(template.treePath, staging, owner),
        unpackWal(template.packedWalPath, walDir, owner),
      ]);
      await this.#linkWal(volumeId, staging, owner);
      await writeVolumeRecord(staging, {
        format: 1,
        volumeId,
        pgVersion: engine.pgVersion,
        engineVersion: engine.fullVersion,
        owner,
        createdAt: new Date().toISOString(),
      });
      await backend.settleTree(staging);
      await syncDirectory(join(hostDir, 'wal'));
      await rename(staging, this.#volumeDir(volumeId));
    } catch (error) {
      await backend.removeTree(staging);
      await rm(walDir, { recursive: true, force: true });
      throw error;
    }
    await syncDirectory(this.#dir('volumes'));
    return must(await this.find(volumeId));
  }

  async #assertRoom(): Promise<void> {
    const { backend, hostDir } = this.#parts;
    if (await hasRoom(hostDir, backend.root)) return;
    await backend.makeRoom();
    if (!(await hasRoom(hostDir, backend.root))) throw noSpace();
  }

  /** A relative link, so that the host directory can be moved. */
  async #linkWal(volumeId: string, staging: string, owner: FileOwner | null): Promise<void> {
    const link = join(dataPathOf(staging), 'pg_wal');
    await symlink(relative(dataPathOf(this.#volumeDir(volumeId)), this.#walDir(volumeId)), link);
    if (owner) await lchown(link, owner.uid, owner.gid);
  }

  async #inTurn<T>(volumeId: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(volumeId) ?? Promise.resolve();
    const turn = before.then(work, work);
    this.#turns.set(volumeId, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(volumeId) === turn) this.#turns.delete(volumeId);
    }
  }

  #dir(name: 'volumes' | 'staging' | 'trash'): string {
    return join(this.#parts.backend.root, name);
  }

  #volumeDir(volumeId: string): string {
    return join(this.#dir('volumes'), volumeId);
  }

  #walDir(volumeId: string): string {
    return join(this.#parts.hostDir, 'wal', volumeId);
  }
}

/** Waits for all to end, then throws what the first failure threw: nothing may still be writing when we clean up. */
async function settleAll(works: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(works)) if (outcome.status === 'rejected') throw outcome.reason;
}

async function ensureDirectory(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true });
  // mkdir's mode goes through the umask.
  await chmod(path, mode);
}

const unique = (volumeId: string): string => `${volumeId}.${randomBytes(4).toString('hex')}`;

function assertVolumeId(volumeId: string): void {
  assert(VOLUME_ID.test(volumeId), 'volume id is not a plain name');
}
