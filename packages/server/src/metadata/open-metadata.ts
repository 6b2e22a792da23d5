import { Kysely, PostgresDialect, type PostgresPool } from 'kysely';
import { Pool, types, type ClientConfig, type CustomTypesConfig } from 'pg';
import type { Log } from '../kernel/log.ts';
import { codeOf, messageOf } from '../kernel/errors.ts';
import { toConnectError, toMetadataError } from './metadata-error.ts';
import { migrate } from './migrate.ts';
import type { Tables } from './tables.ts';

export interface Metadata {
  /** Failures of the connection come as PlatformError METADATA_UNAVAILABLE, a full disk as NO_SPACE. */
  readonly db: Kysely<Tables>;
  /** For what Kysely cannot do. Its errors are those of `pg`; `toMetadataError` translates them. */
  readonly pool: Pool;
  /** Waits for the connections in use. */
  close(): Promise<void>;
}

export interface MetadataOptions {
  /** Where the database is: a connection string, or host, user, password and so on. */
  readonly connection: ClientConfig;
  readonly log: Log;
}

/** Each backend costs the metadata Postgres up to 10 MB. */
const CONNECTIONS_MAX = 10;
const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 10_000;
/** For a server that does not even answer that a statement has timed out. */
const ANSWER_TIMEOUT_MS = 12_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000;
const IDLE_TIMEOUT_MS = 30_000;

/**
 * Connects to the metadata database and brings its schema to this version.
 * @throws PlatformError METADATA_UNAVAILABLE if it does not answer; CONFLICT if its schema cannot be used, see `migrate`
 */
export async function openMetadata({ connection, log }: MetadataOptions): Promise<Metadata> {
  const pool = new Pool({
    ...connection,
    application_name: 'tenantry',
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    keepAlive: true,
    types: COLUMN_TYPES,
  });
  // A connection may die while it is idle, or in a transaction between two statements. The next statement on it fails or
  // gets another connection; without these listeners the process would end.
  pool.on('error', (error) => log.warn({ error: messageOf(error) }, 'idle metadata connection lost'));
  pool.on('connect', (client) => client.on('error', () => undefined));
  try {
    await migrate(pool, log);
  } catch (error) {
    await pool.end();
    throw toMetadataError(error);
  }
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: translatingPool(pool) }) });
  return { db, pool, close: () => pool.end() };
}

/**
 * What columns become: timestamptz a Date, int8 and numeric exact strings, json its value (the defaults of `pg`), but
 * a `date` stays text, since a Date would move it to the zone of this machine.
 */
const COLUMN_TYPES: CustomTypesConfig = {
  getTypeParser: (oid, format) =>
    oid === types.builtins.DATE ? (value: string) => value : types.getTypeParser(oid, format),
};

/** The one place where failures of statements and connections become PlatformErrors. */
function translatingPool(pool: Pool): PostgresPool {
  const connect = async () => {
    const client = await pool.connect().catch((error: unknown) => {
      throw toConnectError(error);
    });
    let isLost = false;
    return {
      query: async (sql: string, parameters: unknown[]) => {
        try {
          return await client.query(sql, parameters);
        } catch (error) {
          const translated = toMetadataError(error);
          // A late answer must not meet the next statement.
          isLost ||= codeOf(translated) === 'METADATA_UNAVAILABLE';
          throw translated;
        }
      },
      release: (destroy?: boolean) => client.release(destroy === true || isLost),
    };
  };
  // Kysely's type also asks for cursors, which it uses only if told to stream.
  return { connect, end: () => pool.end(), options: pool.options } as unknown as PostgresPool;
}
