import type { ComputeConnection } from '../compute/connection.ts';
import { isOutgrown } from '../compute/standby.ts';
import { messageOf, PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { sleep, withDeadline } from '../kernel/wait.ts';
import type { VolumeStore } from '../storage/volume-store.ts';
import { type Lsn, parseLsn } from '../wal/lsn.ts';

export interface ReplicaFollowerOptions {
  readonly volumeId: string;
  readonly volumes: Pick<VolumeStore, 'follow'>;
  /** What its Postgres runs with. */
  readonly settings: () => Readonly<Record<string, string>>;
  readonly listener: ReplicaListener;
  readonly log: Log;
}

export interface ReplicaListener {
  /** Bytes of WAL between the primary and what is replayed; told only when it changes, and not at every look. */
  readonly lagSeen: (bytes: number) => void;
  /** The primary has room for more than the standby: it must be started again, with as much. */
  readonly outgrown: () => void;
  /** It cannot go on. */
  readonly lost: (error: PlatformError) => void;
}

/** Each report is a write on the host and one in the metadata. */
const REPORT_MS = 2000;
const QUERY_MS = 10_000;
const CATCH_UP_MS = 30_000;
const CATCH_UP_LOOK_MS = 5;

/** Keeps an awake read replica supplied with WAL, and sees how far it is behind. */
export class ReplicaFollower {
  readonly #options: ReplicaFollowerOptions;
  #isLooking = false;
  #reported: number | undefined;
  #reportedAtMs = Number.NEGATIVE_INFINITY;
  #failure: string | undefined;

  constructor(options: ReplicaFollowerOptions) {
    this.#options = options;
  }

  /**
   * Before the first client comes: waits until all is replayed that the primary had written when it began, so that who
   * wakes a replica reads nothing older. Bounded: what takes longer shows as lag. Resolves to the session that it used.
   * @throws PlatformError COMPUTE_START_FAILED if it cannot go on
   */
  async catchUp(connect: () => Promise<ComputeConnection>): Promise<ComputeConnection> {
    const connection = await connect();
    const seen = await this.#options.volumes.follow(this.#options.volumeId);
    if (seen.kind === 'lost') throw lostError();
    const giveUpAt = performance.now() + CATCH_UP_MS;
    while ((await readReplayed(connection)) < seen.end && performance.now() < giveUpAt) await sleep(CATCH_UP_LOOK_MS);
    return connection;
  }

  /** Called at every look at the running compute. Does nothing while the last call's work is not done. */
  look(connection: ComputeConnection | undefined): void {
    if (this.#isLooking || !connection) return;
    this.#isLooking = true;
    void this.#attempt(connection).finally(() => (this.#isLooking = false));
  }

  async #attempt(connection: ComputeConnection): Promise<void> {
    try {
      await this.#follow(connection);
      this.#failure = undefined;
    } catch (error) {
      const { volumeId, log } = this.#options;
      const failure = messageOf(error);
      if (failure !== this.#failure) log.warn({ volumeId, error: failure }, 'read replica not followed up');
      this.#failure = failure;
    }
  }

  async #follow(connection: ComputeConnection): Promise<void> {
    const { volumeId, volumes, settings, listener } = this.#options;
    const seen = await volumes.follow(volumeId);
    if (seen.kind === 'lost') return listener.lost(lostError());
    if (isOutgrown(settings(), seen.capacity)) return listener.outgrown();
    const replayed = await readReplayed(connection);
    this.#report(replayed >= seen.end ? 0 : Number(seen.end - replayed));
  }

  #report(bytes: number): void {
    if (bytes === this.#reported || performance.now() - this.#reportedAtMs < REPORT_MS) return;
    this.#reported = bytes;
    this.#reportedAtMs = performance.now();
    this.#options.listener.lagSeen(bytes);
  }
}

async function readReplayed(connection: ComputeConnection): Promise<Lsn> {
  const query = { name: 'replayed', text: 'SELECT pg_last_wal_replay_lsn()', rowMode: 'array' } as const;
  const { rows } = await withDeadline(
    'read the replay',
    QUERY_MS,
    async () => await connection.query<[string | null]>(query),
  );
  return parseLsn(rows[0]?.[0] ?? '') ?? 0n;
}

const lostError = (): PlatformError =>
  new PlatformError(
    'COMPUTE_START_FAILED',
    'Cannot go on with the read replica: WAL that it needs is gone; its next start makes it anew',
  );
