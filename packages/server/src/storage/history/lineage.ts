import { assert } from '../../kernel/assert.ts';
import { formatLsn, type Lsn, parseLsn } from '../../wal/lsn.ts';
import type { TimeUs } from './time-us.ts';

/** An immutable clone of a volume's data, from which its later moments can be replayed. */
export interface RestorePoint {
  /** Name of its directory. */
  readonly pointId: string;
  /** Templates are points too, at no cost: they live where the template store keeps them. */
  readonly place: 'points' | 'templates';
  /**
   * `clean`: of a cleanly stopped volume; at `consistentLsn` it needs no replay. `crash`: one moment of a volume in use.
   * `backup`: copied under Postgres' backup API, with its `backup_label`.
   */
  readonly kind: 'clean' | 'crash' | 'backup';
  readonly timeline: number;
  /** Replay begins here. */
  readonly redoLsn: Lsn;
  /** It can be brought to this moment and later ones, to none before. */
  readonly consistentLsn: Lsn;
  /**
   * All that was committed before `redoLsn` is older: the search for a later time begins there. And, to the millisecond,
   * all that was committed before this time is in records before `consistentLsn`.
   */
  readonly takenAt: Date;
}

/** Where something of this lineage is: records that end at or before `lsn`, on a timeline. */
export interface LineageMoment {
  readonly lsn: Lsn;
  readonly timeline: number;
  readonly timeUs: TimeUs;
}

/** `lineage.json`: the history of one volume, beside its links to WAL. */
export interface Lineage {
  readonly volumeId: string;
  readonly retentionSeconds: number;
  /** Its first moment. What came before, if anything, is in the origin's lineage. */
  readonly begin: LineageMoment;
  /** The volume that this one is a branch of. It may be gone. */
  readonly originId: string | null;
  /** In the order of `consistentLsn`. */
  readonly points: readonly RestorePoint[];
}

const FORMAT = 1;

export function formatLineage(lineage: Lineage): string {
  return JSON.stringify({ format: FORMAT, ...lineage }, (_, value: unknown) =>
    typeof value === 'bigint' ? formatLsn(value) : value,
  );
}

const LSN_FIELDS: ReadonlySet<string> = new Set(['lsn', 'redoLsn', 'consistentLsn']);

/** @throws Error if another version of Tenantry wrote it, or nobody did */
export function parseLineage(text: string): Lineage {
  const { format, ...lineage } = JSON.parse(text, (key, value: unknown) => {
    if (typeof value !== 'string') return value;
    if (LSN_FIELDS.has(key)) return parseLsn(value);
    return key === 'takenAt' ? new Date(value) : value;
  }) as Lineage & { format: unknown };
  assert(format === FORMAT && Array.isArray(lineage.points), 'a lineage record is of another version');
  return lineage;
}

/** WAL before this is needed for no moment: replay of the oldest point begins here. 0 where there is no point yet. */
export function neededFrom({ points }: Lineage): Lsn {
  const [first = 0n, ...others] = points.map(({ redoLsn }) => redoLsn);
  return others.reduce((oldest, redoLsn) => (redoLsn < oldest ? redoLsn : oldest), first);
}

/** The lineage with one more point. */
export function withPoint(lineage: Lineage, point: RestorePoint): Lineage {
  const points = [...lineage.points, point].sort((a, b) => (a.consistentLsn < b.consistentLsn ? -1 : 1));
  return { ...lineage, points };
}
