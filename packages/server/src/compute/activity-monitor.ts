import { PlatformError } from '../kernel/errors.ts';
import { withDeadline } from '../kernel/wait.ts';
import type { ComputeConnection } from './connection.ts';

/**
 * Watches what uses a compute, by Neon's rules (compute_tools, monitor.rs). Over one own connection it polls every
 * 500 ms; a compute was active at the time of the poll if
 * 1. the sum of `active_time` or of `sessions` over all databases but Postgres' own has changed,
 * 2. a client backend, not of the platform, is in another state than `idle`; else the latest `state_change` counts,
 * 3. a replication client streams (its backend is a `walsender`),
 * 4. a subscription's worker runs,
 * 5. an autovacuum worker runs.
 * A connection that is merely open does not count.
 *
 * One scan of the backends answers 2 to 5. Roles and databases can only change while there is activity, so their
 * fingerprint is read then and not in idle polls.
 */
export interface ActivityMonitorOptions {
  readonly connect: () => Promise<ComputeConnection>;
  /** Milliseconds since the epoch: nothing before counts as unknown. */
  readonly lastActiveAt: number;
  /** After each poll, so that the decision to suspend is made on what was seen just now. */
  readonly onPoll: () => void;
  /** Roles or databases have changed, or may have: called first after the start. */
  readonly onCatalogChange: (connection: ComputeConnection) => Promise<void>;
}

export const POLL_MS = 500;
const RECONNECT_MS = 1000;
/** Between the first sessions of computes that were found: each takes 10 ms of CPU to begin, 30 with its first queries. */
const SESSION_MS = 25;
const POLL_DEADLINE_MS = 10_000;
const LAST_LOOK_MS = 1000;

const ACTIVITY_QUERY = `
  SELECT
    (SELECT concat(sum(pg_stat_get_db_active_time(oid)), ' ', sum(pg_stat_get_db_sessions(oid)))
      FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')),
    count(*) FILTER (WHERE CASE backend_type
      WHEN 'client backend' THEN state <> 'idle' AND usesysid <> 10
      WHEN 'walsender' THEN application_name <> 'walproposer'
      ELSE true END),
    floor(extract(epoch FROM max(state_change) FILTER (WHERE backend_type = 'client backend' AND usesysid <> 10)) * 1000)
  FROM pg_stat_get_activity(NULL)
  WHERE backend_type IN ('client backend', 'walsender', 'autovacuum worker')
    OR backend_type LIKE 'logical replication %worker'`;

const FINGERPRINT_QUERY = `
  SELECT concat(
    (SELECT concat(count(*), ' ', sum(xmin::text::bigint)) FROM pg_authid), ' ',
    (SELECT concat(count(*), ' ', sum(xmin::text::bigint)) FROM pg_database))`;

export class ActivityMonitor {
  readonly #options: ActivityMonitorOptions;
  #connection: ComputeConnection | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #lastActiveAt: number;
  #sums: string | undefined;
  #fingerprint: string | undefined;
  #isSeen = false;
  #isJustSeen = false;

  constructor(options: ActivityMonitorOptions) {
    this.#options = options;
    this.#lastActiveAt = options.lastActiveAt;
  }

  /** Milliseconds since the epoch. */
  get lastActiveAt(): number {
    return this.#lastActiveAt;
  }

  /** True once a poll has been answered on the present connection: only then is idleness a fact. */
  get isSeen(): boolean {
    return this.#isSeen;
  }

  get connection(): ComputeConnection | undefined {
    return this.#connection;
  }

  /** Counts as activity: somebody got the address and is about to connect. */
  touch(): void {
    this.#lastActiveAt = Math.max(this.#lastActiveAt, Date.now());
  }

  /**
   * Starts to poll, with a connection that is already there, if the caller has one. Not at once: the first session of a
   * client, who waits, is being opened just now.
   * @param foundBefore computes that were found running before this one: each will have to begin a session for us
   */
  start(connection?: ComputeConnection, foundBefore = 0): void {
    this.#connection = connection;
    this.#schedule(POLL_MS / 2 + (connection ? 0 : foundBefore * SESSION_MS));
  }

  /**
   * A last look at roles and databases before an ordered stop, which may come sooner than the next poll: a role that is
   * not known could not wake the compute again. Bounded; the stop does not depend on it. A stop that a poll itself has
   * led to is not held up: it must come before a session that was idle just now begins to work.
   */
  async lookOnce(): Promise<void> {
    if (this.#isJustSeen) return;
    clearTimeout(this.#timer);
    try {
      await withDeadline('look at the catalog', LAST_LOOK_MS, async () => {
        const connection = (this.#connection ??= await this.#options.connect());
        await this.#readCatalogIfChanged(connection);
      });
    } catch {
      // It is on its end already, or does not answer.
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#connection?.end().catch(() => undefined);
  }

  #schedule(ms: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#round(), ms);
  }

  async #round(): Promise<void> {
    try {
      await withDeadline('watch the compute', POLL_DEADLINE_MS, async () => await this.#poll());
      if (this.#isClosed) return;
      this.#isSeen = true;
      this.#isJustSeen = true;
      this.#options.onPoll();
      this.#isJustSeen = false;
      this.#schedule(POLL_MS);
    } catch {
      // The compute stops, has crashed, or has no connection left: the process' end is seen elsewhere.
      this.#isSeen = false;
      const lost = this.#connection;
      this.#connection = undefined;
      void lost?.end().catch(() => undefined);
      this.#schedule(RECONNECT_MS);
    }
  }

  async #poll(): Promise<void> {
    const connection = (this.#connection ??= await this.#options.connect());
    if (this.#isClosed) return void connection.end().catch(() => undefined);
    const [sums, busy, changedAt] = await readRow(connection, 'activity', ACTIVITY_QUERY);
    const before = this.#lastActiveAt;
    if ((this.#sums !== undefined && sums !== this.#sums) || Number(busy) > 0) this.touch();
    else if (changedAt) this.#lastActiveAt = Math.max(before, Number(changedAt));
    this.#sums = sums ?? '';
    if (this.#lastActiveAt === before && this.#fingerprint !== undefined) return;
    await this.#readCatalogIfChanged(connection);
  }

  async #readCatalogIfChanged(connection: ComputeConnection): Promise<void> {
    const [fingerprint] = await readRow(connection, 'fingerprint', FINGERPRINT_QUERY);
    if (fingerprint === this.#fingerprint) return;
    await this.#options.onCatalogChange(connection);
    this.#fingerprint = fingerprint ?? '';
  }
}

async function readRow(connection: ComputeConnection, name: string, text: string): Promise<(string | null)[]> {
  const { rows } = await connection.query<(string | null)[]>({ name, text, rowMode: 'array' });
  if (!rows[0]) throw new PlatformError('INTERNAL', 'Cannot watch the compute: no answer');
  return rows[0];
}
