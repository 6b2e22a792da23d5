import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { must } from '../support/must.ts';
import { psql } from '../support/psql.ts';
import type { Commit, Ledger, SeenSession, Session } from './ledger.ts';

/** Slots of clients; those with the same remainder share a row. */
const SHARED_ROWS = 4;
const CHURN_ROWS_PER_SLOT = 40;

const SCHEMA = `
  CREATE TABLE entry (
    session text, seq integer, i integer, amount bigint NOT NULL, is_poison boolean NOT NULL DEFAULT false,
    PRIMARY KEY (session, seq, i)
  );
  CREATE TABLE sums (session text PRIMARY KEY, slot integer NOT NULL, commits integer NOT NULL, amount bigint NOT NULL);
  CREATE TABLE shared (id integer PRIMARY KEY, amount bigint NOT NULL);
  INSERT INTO shared SELECT i, 0 FROM generate_series(0, ${SHARED_ROWS - 1}) i;
  CREATE TABLE churn (id integer PRIMARY KEY, filler text NOT NULL);
  INSERT INTO churn SELECT i, repeat(md5(i::text), 60) FROM generate_series(0, ${CHURN_ROWS_PER_SLOT * 16 - 1}) i;
`;

const POSITION = `SELECT pg_current_wal_insert_lsn() - '0/0' AS lsn,
  (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS clock`;

/** The volume of a database, by its path; the owner of a project may see this setting. */
const VOLUME = `current_setting('data_directory')`;

/** One statement, so one snapshot: all that a database holds. */
const CONTENTS = `SELECT json_build_object(
  'volume', ${VOLUME},
  'poison', (SELECT count(*) FROM entry WHERE is_poison),
  'sharedOff', (SELECT count(*) FROM shared h WHERE amount <> coalesce(
    (SELECT sum(amount) FROM sums WHERE slot % ${SHARED_ROWS} = h.id), 0)),
  'churn', (SELECT count(*) FROM churn WHERE length(filler) = 1920),
  'sessions', (SELECT coalesce(json_agg(x), '[]') FROM (
    SELECT session AS id, e.commits, e.rows, e.amount::text, e.highest,
      coalesce(s.commits, 0) AS "sumCommits", coalesce(s.amount, 0)::text AS "sumAmount"
    FROM (SELECT session, count(DISTINCT seq)::int AS commits, count(*)::int AS rows, sum(amount) AS amount,
      max(seq) AS highest FROM entry GROUP BY session) e FULL JOIN sums s USING (session)) x))`;

export interface Contents {
  readonly volume: string;
  readonly sessions: readonly SeenSession[];
  /** What is wrong by itself, without a ledger. */
  readonly faults: readonly string[];
}

export async function createSchema(uri: string): Promise<void> {
  await psql(uri, SCHEMA);
}

function volumeOf(dataDirectory: string): string {
  return must(/volumes\/([^/]+)/.exec(dataDirectory)?.[1] ?? dataDirectory, 'a data directory');
}

/** Reads all through one connection of its own. */
export async function readContents(uri: string): Promise<Contents> {
  const client = await connect(uri);
  try {
    const { rows } = await client.query<{ json_build_object: RawContents }>(CONTENTS);
    const raw = must(rows[0]).json_build_object;
    const faults: string[] = [];
    if (raw.poison !== 0) faults.push(`${raw.poison} rows that were rolled back`);
    if (raw.sharedOff !== 0) faults.push(`${raw.sharedOff} sums that sessions share are off`);
    if (raw.churn !== CHURN_ROWS_PER_SLOT * 16) faults.push(`${raw.churn} rows of churn`);
    const sessions = raw.sessions.map((s) => ({ ...s, amount: BigInt(s.amount), sumAmount: BigInt(s.sumAmount) }));
    return { volume: volumeOf(raw.volume), sessions, faults };
  } finally {
    await client.end().catch(() => {});
  }
}

interface RawContents {
  readonly volume: string;
  readonly poison: number;
  readonly sharedOff: number;
  readonly churn: number;
  readonly sessions: readonly (Omit<SeenSession, 'amount' | 'sumAmount'> & {
    readonly amount: string;
    readonly sumAmount: string;
  })[];
}

async function connect(uri: string): Promise<Client> {
  const client = new Client({ connectionString: uri, connectionTimeoutMillis: 60_000, query_timeout: 60_000 });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** Clients that write numbered rows in transactions of random size, and note each in the ledger. They reconnect. */
export class Workload {
  readonly uri: string;
  readonly #ledger: Ledger;
  readonly #lanes: Promise<void>[];
  readonly #pauseMs: number;
  readonly #perClient: number;
  #stopping = false;
  #isPaused = false;
  #busy = 0;
  /** Errors by which sessions ended; expected at a restore, a suspend or a kill. */
  readonly losses: string[] = [];

  constructor(
    uri: string,
    ledger: Ledger,
    options: { readonly clients: number; readonly pauseMs?: number; readonly perClient?: number },
  ) {
    this.uri = uri;
    this.#ledger = ledger;
    this.#pauseMs = options.pauseMs ?? 10;
    this.#perClient = options.perClient ?? Number.POSITIVE_INFINITY;
    this.#lanes = Array.from({ length: options.clients }, async (_, slot) => await this.#lane(slot));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.done();
  }

  /** Waits until each client has made its commits (`perClient`). */
  async done(): Promise<void> {
    await Promise.all(this.#lanes);
  }

  /** Runs `work` while no client is within a transaction; sessions stay open. */
  async whilePaused<T>(work: () => Promise<T>): Promise<T> {
    this.#isPaused = true;
    try {
      while (this.#busy > 0) await delay(2);
      return await work();
    } finally {
      this.#isPaused = false;
    }
  }

  async #lane(slot: number): Promise<void> {
    for (let made = 0; !this.#stopping && made < this.#perClient;) {
      let client: Client | undefined;
      try {
        const opened = await this.#unpaused(async () => {
          client = await connect(this.uri);
          return { client, session: await this.#open(client, slot) };
        });
        for (; !this.#stopping && made < this.#perClient; made++) {
          await this.#unpaused(async () => await transaction(opened.client, opened.session));
          await delay(Math.random() * 2 * this.#pauseMs);
        }
      } catch (error) {
        this.losses.push(String(error));
        await delay(30);
      }
      await client?.end().catch(() => {});
    }
  }

  async #unpaused<T>(work: () => Promise<T>): Promise<T> {
    while (this.#isPaused && !this.#stopping) await delay(5);
    this.#busy++;
    try {
      return await work();
    } finally {
      this.#busy--;
    }
  }

  async #open(client: Client, slot: number): Promise<Session> {
    const { rows } = await client.query<{ volume: string }>(`SELECT ${VOLUME} AS volume`);
    return this.#ledger.open(slot, volumeOf(must(rows[0]).volume));
  }
}

/** One transaction: inserts, sums, and sometimes savepoints, churn of pages, or a rollback of it all. */
async function transaction(client: Client, session: Session): Promise<void> {
  const seq = session.commits.length;
  const chance = (share: number): boolean => Math.random() < share;
  let rows = 0;
  let amount = 0n;
  const insert = async (count: number): Promise<void> => {
    const amounts = Array.from({ length: count }, () => Math.floor(Math.random() * 1e9));
    const values = amounts.map((a, i) => `('${session.id}', ${seq}, ${rows + i}, ${a})`);
    await client.query(`INSERT INTO entry (session, seq, i, amount) VALUES ${values.join(', ')}`);
    rows += count;
    amount += BigInt(amounts.reduce((a, b) => a + b, 0));
  };
  const poison = `INSERT INTO entry VALUES ('${session.id}', ${seq}, 100000, 1, true)`;
  await client.query('BEGIN');
  await insert(1 + Math.floor(Math.random() ** 3 * 40));
  if (chance(0.15)) await client.query(`SAVEPOINT a; ${poison}; ROLLBACK TO a`);
  if (chance(0.15)) {
    await client.query('SAVEPOINT b');
    await insert(1 + Math.floor(Math.random() * 4));
    await client.query('RELEASE b');
  }
  if (chance(0.05)) {
    const first = session.slot * CHURN_ROWS_PER_SLOT;
    await client.query(
      `UPDATE churn SET filler = repeat(md5(random()::text), 60) WHERE id BETWEEN ${first} AND ${first + CHURN_ROWS_PER_SLOT - 1}`,
    );
  }
  await client.query(
    `INSERT INTO sums VALUES ('${session.id}', ${session.slot}, 1, ${amount})
     ON CONFLICT (session) DO UPDATE SET commits = sums.commits + 1, amount = sums.amount + excluded.amount`,
  );
  await client.query(`UPDATE shared SET amount = amount + ${amount} WHERE id = ${session.slot % SHARED_ROWS}`);
  if (chance(0.08)) {
    await client.query(`${poison}; ROLLBACK`);
    return;
  }
  const before = await position(client);
  const commit: Commit = {
    rows,
    amount,
    lsnBefore: before.lsn,
    clockBefore: before.clock,
    sentAt: performance.now(),
  };
  session.commits.push(commit);
  await client.query('COMMIT');
  commit.doneAt = performance.now();
  const after = await position(client);
  commit.lsnAfter = after.lsn;
  commit.clockAfter = after.clock;
}

async function position(client: Client): Promise<{ lsn: bigint; clock: number }> {
  const { rows } = await client.query<{ lsn: string; clock: string }>(POSITION);
  const { lsn, clock } = must(rows[0]);
  return { lsn: BigInt(lsn), clock: Number(clock) };
}
