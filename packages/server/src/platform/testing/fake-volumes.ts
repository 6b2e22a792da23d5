import { PlatformError } from '../../kernel/errors.ts';
import type { BranchVolume, CreateVolume, Moment, MomentRequest, VolumeHistory, VolumeId } from '../../host/host.ts';

/** What SQL sees of a cluster: role name -> verifier, database name -> owner. */
interface Catalog {
  readonly roles: Map<string, string | null>;
  readonly databases: Map<string, string>;
}

/** A state that the volume had, from its moment to the next one. */
interface Past extends Catalog {
  readonly lsn: number;
  readonly time: Date;
}

export interface FakeVolume extends Catalog {
  readonly projectId: string;
  readonly source: VolumeId | null;
  readonly isSchemaOnly: boolean;
  /** As the call that made it was answered. */
  readonly origin: Moment | null;
  historyRetentionSeconds: number;
  readonly past: Past[];
}

const FIRST_LSN = 0x1_000_000;
const WRITE_BYTES = 0x100;

/** The volumes of a fake host, each with its past: only catalogs, which are all that a fake compute can show. */
export class FakeVolumes extends Map<VolumeId, FakeVolume> {
  readonly #deleted = new Set<VolumeId>();

  override delete(volumeId: VolumeId): boolean {
    this.#deleted.add(volumeId);
    return super.delete(volumeId);
  }

  create({ volumeId, projectId, historyRetentionSeconds }: CreateVolume): void {
    if (this.has(volumeId)) return;
    this.#assertNotDeleted(volumeId);
    const roles = new Map([['neondb_owner', null]]);
    const databases = new Map([['neondb', 'neondb_owner']]);
    const first = { ...copy({ roles, databases }), lsn: FIRST_LSN, time: new Date() };
    const made = { projectId, source: null, isSchemaOnly: false, origin: null, historyRetentionSeconds };
    this.set(volumeId, { ...made, roles, databases, past: [first] });
  }

  branch(request: BranchVolume, isSchemaOnly: boolean): Moment {
    const { volumeId, projectId, source, at, historyRetentionSeconds } = request;
    const present = this.get(volumeId)?.origin;
    if (present) return present;
    this.#assertNotDeleted(volumeId);
    const from = this.#past(source, at);
    const origin = toMoment(from, at);
    const first = { ...copy(from), lsn: from.lsn, time: new Date() };
    const made = { projectId, source, isSchemaOnly, origin, historyRetentionSeconds };
    this.set(volumeId, { ...made, ...copy(from), past: [first] });
    return origin;
  }

  findMoment(volumeId: VolumeId, at: MomentRequest): Moment {
    return toMoment(this.#past(volumeId, at), at);
  }

  history(volumeId: VolumeId): VolumeHistory {
    const { past } = this.getOrThrow(volumeId);
    return { oldest: toMoment(past[0], HEAD), newest: toMoment(past.at(-1), HEAD), bytes: 1 };
  }

  /** Notes that the volume's maps have changed. */
  wrote(volumeId: VolumeId): void {
    const volume = this.getOrThrow(volumeId);
    const lsn = (volume.past.at(-1)?.lsn ?? FIRST_LSN) + WRITE_BYTES;
    volume.past.push({ ...copy(volume), lsn, time: new Date() });
  }

  getOrThrow(volumeId: VolumeId): FakeVolume {
    const volume = this.get(volumeId);
    if (!volume) throw new PlatformError('NOT_FOUND', `Cannot use volume ${volumeId}: it does not exist`);
    return volume;
  }

  #assertNotDeleted(volumeId: VolumeId): void {
    if (!this.#deleted.has(volumeId)) return;
    throw new PlatformError('CONFLICT', `Cannot make volume ${volumeId}: it was deleted meanwhile`);
  }

  #past(volumeId: VolumeId, at: MomentRequest): Past {
    const { past, origin, source } = this.getOrThrow(volumeId);
    const isFuture = at.kind === 'lsn' ? parseLsn(at.lsn) > (past.at(-1)?.lsn ?? 0) : isAfterNow(at);
    const found = isFuture ? undefined : past.findLast((state) => isBy(state, at));
    if (found) return found;
    if (!isFuture && origin && source !== null && this.has(source)) return this.#past(source, at);
    throw new PlatformError('MOMENT_OUT_OF_HISTORY', `Cannot find the moment in the history of volume ${volumeId}`);
  }
}

const HEAD: MomentRequest = { kind: 'head' };

const copy = ({ roles, databases }: Catalog): Catalog => ({ roles: new Map(roles), databases: new Map(databases) });

const isAfterNow = (at: MomentRequest): boolean => at.kind === 'time' && Date.parse(at.time) > Date.now();

function isBy({ lsn, time }: Past, at: MomentRequest): boolean {
  if (at.kind === 'head') return true;
  return at.kind === 'lsn' ? lsn <= parseLsn(at.lsn) : time.getTime() <= Date.parse(at.time);
}

function toMoment(state: Past | undefined, at: MomentRequest): Moment {
  const time = at.kind === 'time' ? at.time : (state?.time ?? new Date()).toISOString();
  return { lsn: at.kind === 'lsn' ? at.lsn : printLsn(state?.lsn ?? FIRST_LSN), time };
}

const printLsn = (lsn: number): string => `0/${lsn.toString(16).toUpperCase()}`;

const parseLsn = (lsn: string): number => Number.parseInt(lsn.split('/')[1] ?? '', 16);
