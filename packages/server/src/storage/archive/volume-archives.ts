import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncTree } from '../../engines/sync-tree.ts';
import { must } from '../../kernel/assert.ts';
import { syncDirectory } from '../../kernel/atomic-file.ts';
import { isNoSpace, messageOf, PlatformError } from '../../kernel/errors.ts';
import { parseSegmentName, segmentStart } from '../../wal/segment-name.ts';
import { dataPathOf } from '../backends/backend.ts';
import { allocatedBytes, apparentBytes, assertRoom, assertRoomFor, exclusiveWalBytes } from '../disk-space.ts';
import { assertVolumeId, findVolume } from '../find-volume.ts';
import { archiveWal } from '../history/archive-wal.ts';
import { ensureLineage } from '../history/begin-lineage.ts';
import type { RestorePoint } from '../history/lineage.ts';
import { removeSegmentsBefore } from '../history/prune-history.ts';
import type { RestorePoints } from '../restore-points.ts';
import type { StoreParts } from '../store-parts.ts';
import { readVolumeRecord, writeVolumeRecord } from '../volume-record.ts';
import type { Volume } from '../volume-store.ts';
import { type PackedContent, readCompressed, writeCompressed } from './archive-file.ts';
import {
  type ArchiveRecord,
  contentPathOf,
  readArchiveRecord,
  removeArchive,
  writeArchiveRecord,
} from './archive-record.ts';
import { checkRoots, packRoots, type PackedRoot, unpackRoots } from './entry-stream.ts';
import { type Rest, restOf } from './rest-of.ts';

export type ArchiveOutcome =
  | { readonly archived: true; readonly compressedBytes: number; readonly freedBytes: number }
  /** Why it stays as it is. */
  | { readonly archived: false; readonly why: string };

interface Packing extends Rest {
  readonly volume: Volume;
  /** What archiving gives back. */
  readonly freedBytes: number;
}

/** No volume id holds a dot. */
const STAGING = '.new';
/** How often, in compressed bytes, it is looked whether the disk has room for more. */
const ROOM_LOOK_BYTES = 64 * 1024 ** 2;
const PROGRESS_MS = 10_000;
const MAX_LSN = 2n ** 64n - 1n;

/** The volume is left as it is. */
class GivenUp extends Error {}

/**
 * Volumes that are kept compressed, in `<hostDir>/archive/<volumeId>/`. A volume is archived if its archive is whole and
 * there is nothing of its name in `volumes/`: so each of both ways is committed by one rename there. The caller has the
 * turn of the volume's id.
 */
export class VolumeArchives {
  readonly #parts: StoreParts;
  readonly #points: RestorePoints;
  /** Volumes that are to be deleted. */
  readonly #unwanted = new Set<string>();

  constructor(parts: StoreParts, points: RestorePoints) {
    this.#parts = parts;
    this.#points = points;
  }

  async find(volumeId: string): Promise<ArchiveRecord | undefined> {
    assertVolumeId(volumeId);
    const { layout } = this.#parts;
    return existsSync(layout.volumeDir(volumeId)) ? undefined : readArchiveRecord(layout.archiveDir(volumeId));
  }

  /** It has no files at its paths until it is brought back. */
  async findVolume(volumeId: string): Promise<Volume | undefined> {
    const record = await this.find(volumeId);
    if (!record) return undefined;
    const { layout } = this.#parts;
    const { needsPromotion } = record;
    const { pgVersion, owner } = record.volume;
    const paths = { dataPath: layout.dataPath(volumeId), walPath: layout.walDir(volumeId) };
    return { volumeId, pgVersion, owner, ...paths, needsPromotion, replicaOf: null, isArchived: true };
  }

  /** Ids, whether or not their records can be read. */
  async list(): Promise<readonly string[]> {
    const { layout } = this.#parts;
    const names = await readdir(layout.logDir('archive'));
    return names.filter((name) => !name.endsWith(STAGING) && !existsSync(layout.volumeDir(name))).sort();
  }

  /** @throws PlatformError NO_SPACE */
  async archive(volume: Volume): Promise<ArchiveOutcome> {
    const { backend } = this.#parts;
    let hasNoPoints = false;
    try {
      hasNoPoints = await this.#whileStill(volume, () => this.#dropOwnPoints(volume));
      // Without the volume: that may take long. What is not given back by then only counts as less.
      if (hasNoPoints) await backend.settleRemovals().catch(() => undefined);
      return await this.#whileStill(volume, async () => {
        const rest = await this.#restOf(volume);
        return this.#archiveStill({ volume, ...rest, freedBytes: await this.#freedBytes(volume) });
      });
    } catch (error) {
      if (hasNoPoints && backend.info.capabilities.cowClone) await this.#makePoint(volume);
      if (error instanceof GivenUp) return { archived: false, why: error.message };
      throw isNoSpace(error) ? noSpace('archive the volume', error) : error;
    }
  }

  /**
   * Makes the volume what it was. Does nothing if it is not archived.
   * @throws PlatformError NO_SPACE: it stays archived
   */
  async bringBack(volumeId: string): Promise<void> {
    const record = await this.find(volumeId);
    if (!record) return;
    const { layout, backend, log } = this.#parts;
    const { compressedBytes, dataBytes, walBytes } = record;
    const from = performance.now();
    log.info({ volumeId, compressedBytes, bytes: dataBytes + walBytes }, 'bringing back an archived volume');
    const staging = join(layout.treeDir('staging'), `${volumeId}.${randomBytes(4).toString('hex')}`);
    try {
      await assertRoomFor(layout.hostDir, backend, { dataBytes, walBytes });
      await this.#unpack(record, staging);
      await rename(staging, layout.volumeDir(volumeId));
    } catch (error) {
      await backend.removeTree(staging);
      await rm(layout.walDir(volumeId), { recursive: true, force: true });
      throw isNoSpace(error) ? noSpace('bring back the archived volume', error) : error;
    }
    await syncDirectory(layout.treeDir('volumes'));
    await removeArchive(layout.archiveDir(volumeId));
    log.info({ volumeId, ms: Math.round(performance.now() - from) }, 'archived volume is back');
    if (!record.needsPromotion && backend.info.capabilities.cowClone) {
      await this.#makePoint(must(await findVolume(layout, volumeId)));
    }
  }

  /** Ends the packing of a volume: it is to be deleted, by who waits for its turn. */
  giveUp(volumeId: string): void {
    this.#unwanted.add(volumeId);
  }

  async remove(volumeId: string): Promise<void> {
    this.#unwanted.delete(volumeId);
    await removeArchive(this.#parts.layout.archiveDir(volumeId));
  }

  /** Removes what a crash has left: archives that are not whole, and those whose volume is there. */
  async recover(): Promise<void> {
    const { layout, log } = this.#parts;
    const directory = layout.logDir('archive');
    for (const name of await readdir(directory)) {
      const path = join(directory, name);
      const isNeeded = !existsSync(layout.volumeDir(name)) && (await readdir(path)).includes('archive.json');
      if (isNeeded && !name.endsWith(STAGING)) continue;
      log.info({ name }, 'removing an archive that was half made or half removed');
      await removeArchive(path);
    }
  }

  /** After a crash: an archived volume has no files but its archive, and the record of its lineage. */
  async clear(volumeId: string): Promise<void> {
    const { layout } = this.#parts;
    await rm(layout.walDir(volumeId), { recursive: true, force: true });
    if (existsSync(layout.historyDir(volumeId))) await removeSegmentsBefore(layout.historyDir(volumeId), MAX_LSN);
  }

  #whileStill<T>({ volumeId }: Volume, work: () => Promise<T>): Promise<T> {
    return this.#parts.still.whileStill(volumeId, work, () => Promise.reject(new GivenUp('it is in use')));
  }

  async #restOf(volume: Volume): Promise<Rest> {
    const rest = await restOf(this.#parts, volume);
    if ('why' in rest) throw new GivenUp(rest.why);
    return rest;
  }

  /**
   * Points of its own share what they hold with the volume, so that neither counts as exclusive. None of them is needed:
   * everything that the history keeps is as the head is.
   */
  async #dropOwnPoints(volume: Volume): Promise<boolean> {
    const { lineages, lineageTurns } = this.#parts;
    const { volumeId } = volume;
    const rest = await this.#restOf(volume);
    if (volume.needsPromotion) return false;
    return await lineageTurns.take(volumeId, async () => {
      const { points, retentionSeconds } = (await lineages.find(volumeId)) ?? rest.lineage;
      if (!points.some(({ pointId }) => pointId.startsWith(`${volumeId}.`))) return false;
      await lineages.put({ ...rest.lineage, retentionSeconds });
      await this.#points.removeUnreferenced(points);
      return true;
    });
  }

  async #freedBytes({ volumeId, walPath }: Volume): Promise<number> {
    const { backend, layout } = this.#parts;
    const { exclusiveBytes, sharedBytes } = await backend.measureTree(layout.volumeDir(volumeId));
    if (sharedBytes === null) throw new GivenUp('this filesystem cannot tell what archiving would give back');
    return exclusiveBytes + (await exclusiveWalBytes(walPath));
  }

  async #archiveStill(packing: Packing): Promise<ArchiveOutcome> {
    const { layout, backend, log } = this.#parts;
    const { volume, freedBytes } = packing;
    const { volumeId } = volume;
    const from = performance.now();
    const staging = `${layout.archiveDir(volumeId)}${STAGING}`;
    const trash = join(layout.treeDir('trash'), `${volumeId}.${randomBytes(4).toString('hex')}`);
    await removeArchive(staging);
    try {
      const { compressedBytes, content } = await this.#pack(packing, staging);
      log.info({ volumeId, compressedBytes, freedBytes, bytes: content.bytes }, 'volume packed');
      await rename(staging, layout.archiveDir(volumeId));
      await syncDirectory(layout.logDir('archive'));
      const dropped = await this.#commit(packing, trash);
      await this.#clean(volumeId, { trash, dropped });
      log.info({ volumeId, ms: Math.round(performance.now() - from) }, 'volume archived');
      return { archived: true, compressedBytes, freedBytes };
    } catch (error) {
      await removeArchive(staging);
      if (existsSync(layout.volumeDir(volumeId))) await removeArchive(layout.archiveDir(volumeId));
      else await backend.removeTree(trash).catch(() => undefined);
      throw error;
    }
  }

  async #pack({ volume, walFrom, freedBytes }: Packing, staging: string): Promise<ArchiveRecord> {
    const { layout, backend, still } = this.#parts;
    const { volumeId, dataPath, walPath, needsPromotion } = volume;
    await mkdir(staging, { mode: 0o700 });
    const isNeeded = (path: string): boolean => (parseSegmentName(path)?.start ?? walFrom) >= segmentStart(walFrom);
    const roots: readonly PackedRoot[] = [
      { name: 'data', path: dataPath },
      { name: 'wal', path: walPath, includes: isNeeded },
    ];
    let lookAt = 0;
    const content = await writeCompressed(contentPathOf(staging), packRoots(roots), async (bytes) => {
      if (still.isClaimed(volumeId)) throw new GivenUp('it is in use');
      if (this.#unwanted.has(volumeId)) throw new GivenUp('it is to be deleted');
      if (bytes >= freedBytes) throw new GivenUp('it would take more than it gives back');
      if (bytes < lookAt) return;
      lookAt = bytes + ROOM_LOOK_BYTES;
      await assertRoom(layout.hostDir, backend);
    });
    await readCompressed(contentPathOf(staging), content, checkRoots);
    const record: ArchiveRecord = {
      format: 1,
      volume: must(await readVolumeRecord(layout.volumeDir(volumeId)), 'a volume has a record'),
      needsPromotion,
      archivedAt: new Date().toISOString(),
      content,
      compressedBytes: (await lstat(contentPathOf(staging))).size,
      dataBytes: await allocatedBytes(dataPath),
      walBytes: await allocatedBytes(walPath),
      logicalBytes: await apparentBytes(join(dataPath, 'base')),
    };
    if (record.compressedBytes >= freedBytes) throw new GivenUp('it would take more than it gives back');
    await writeArchiveRecord(staging, record);
    return record;
  }

  /** From the rename on the archive is the volume. */
  async #commit({ volume, lineage }: Packing, trash: string): Promise<readonly RestorePoint[]> {
    const { layout, lineages, lineageTurns, still } = this.#parts;
    const { volumeId } = volume;
    return await lineageTurns.take(volumeId, async () => {
      if (still.isClaimed(volumeId)) throw new GivenUp('it is in use');
      const present = await ensureLineage(this.#parts, volume);
      await lineages.put({ ...lineage, retentionSeconds: present.retentionSeconds });
      await rename(layout.volumeDir(volumeId), trash);
      await syncDirectory(layout.treeDir('volumes'));
      return present.points;
    });
  }

  /** What fails here is left to `recover`. */
  async #clean(
    volumeId: string,
    { trash, dropped }: { readonly trash: string; readonly dropped: readonly RestorePoint[] },
  ): Promise<void> {
    try {
      await this.#parts.backend.removeTree(trash);
      await this.clear(volumeId);
      await this.#points.removeUnreferenced(dropped);
    } catch (error) {
      this.#parts.log.warn({ volumeId, reason: messageOf(error) }, 'files of an archived volume not removed');
    }
  }

  async #unpack({ volume, content }: ArchiveRecord, staging: string): Promise<void> {
    const { layout, backend } = this.#parts;
    const { volumeId } = volume;
    const walPath = layout.walDir(volumeId);
    await rm(walPath, { recursive: true, force: true });
    await backend.createTree(staging);
    const rootOf = (name: string): string => (name === 'wal' ? walPath : dataPathOf(staging));
    const keepsOwners = process.getuid?.() === 0;
    await readCompressed(contentPathOf(layout.archiveDir(volumeId)), content, (stream) =>
      unpackRoots(this.#logged(volumeId, content, stream), { rootOf, keepsOwners }),
    );
    const historyPath = layout.historyDir(volumeId);
    await mkdir(historyPath, { recursive: true, mode: 0o700 });
    await archiveWal({ walPath, historyPath, from: 0n });
    await writeVolumeRecord(staging, volume);
    await syncTree(staging);
    await syncTree(walPath);
    await backend.settleTree(staging);
    await syncDirectory(layout.logDir('wal'));
  }

  async *#logged(volumeId: string, { bytes }: PackedContent, stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let done = 0;
    let nextAt = performance.now() + PROGRESS_MS;
    for await (const chunk of stream) {
      yield chunk;
      done += chunk.length;
      if (performance.now() < nextAt) continue;
      nextAt += PROGRESS_MS;
      this.#parts.log.info({ volumeId, percent: Math.round((100 * done) / bytes) }, 'bringing back an archived volume');
    }
  }

  /** So that past moments have something to start from. Without it there is one once a compute runs. */
  async #makePoint(volume: Volume): Promise<void> {
    const { volumeId } = volume;
    const { lineageTurns, still, log } = this.#parts;
    if (still.isClaimed(volumeId)) return;
    try {
      await lineageTurns.take(volumeId, async () => {
        const lineage = await ensureLineage(this.#parts, volume);
        await this.#points.make({ volume, lineage, backup: undefined });
      });
    } catch (error) {
      log.warn({ volumeId, reason: messageOf(error) }, 'no restore point made');
    }
  }
}

function noSpace(what: string, cause: unknown): PlatformError {
  return new PlatformError('NO_SPACE', `Cannot ${what}: the disk of this host is full`, { cause });
}
