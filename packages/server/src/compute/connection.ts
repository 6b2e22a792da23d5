import { Client } from 'pg';
import { codeOf, messageOf, PlatformError } from '../kernel/errors.ts';
import type { Secret } from '../kernel/secret.ts';

export interface ConnectOptions {
  readonly socketDirectory: string;
  readonly password: Secret;
  readonly pgVersion: number;
  readonly database?: string;
}

export type ComputeConnection = Client;

/** The superuser of every compute. Only the platform has its password. */
export const PLATFORM_ROLE = 'cloud_admin';
const CONNECT_MS = 10_000;

/**
 * Settings of the platform's own sessions. Those of an endpoint's `pg_settings`, or that a tenant gives to a database of
 * its own, would hold for them too: what comes with the connection wins over both.
 */
export function sessionOptions(pgVersion: number): string {
  const settings = {
    // The catalog only: nothing that a tenant creates, an operator or a function, is run with the platform's rights.
    search_path: 'pg_catalog',
    session_authorization: PLATFORM_ROLE,
    role: 'none',
    local_preload_libraries: '',
    statement_timeout: '60s',
    lock_timeout: '10s',
    idle_session_timeout: '0',
    idle_in_transaction_session_timeout: '0',
    ...(pgVersion >= 17 ? { transaction_timeout: '0' } : {}),
    default_transaction_read_only: 'off',
    default_transaction_deferrable: 'off',
    default_transaction_isolation: 'read\\ committed',
    // What a report says is applied must be on the disk.
    synchronous_commit: 'on',
    standard_conforming_strings: 'on',
  };
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
}

/** A connection of the platform to a compute. */
export async function connectCompute(options: ConnectOptions): Promise<Client> {
  const { socketDirectory, password, database, pgVersion } = options;
  const client = new Client({
    host: socketDirectory,
    port: 5432,
    user: PLATFORM_ROLE,
    password: password.reveal(),
    database: database ?? 'postgres',
    application_name: 'tenantry',
    connectionTimeoutMillis: CONNECT_MS,
    ssl: false,
    options: sessionOptions(pgVersion),
    types: { getTypeParser: () => (text: string) => text },
  });
  // The end of a connection is seen by whoever uses it next; without a listener the event would end this process.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** SQLSTATEs of a connection that failed, and of a Postgres that shuts down, has crashed or is not up yet. */
const LOST_SQLSTATES = /^(08...|57P0[1-3])$/;
/** Of the socket: nobody listens, or nobody does any more. */
const LOST_CODES = /^(ECONN|EPIPE$|ENOENT$)/;
/** What the client library says, without a code. */
const LOST_MESSAGES =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|timeout exp)/;

/** True if the compute or the connection to it went away: the work may be done on the next one. */
export function isConnectionLost(error: unknown): boolean {
  if (error instanceof PlatformError) return false;
  const code = codeOf(error);
  if (code !== undefined) return LOST_SQLSTATES.test(code) || LOST_CODES.test(code);
  return LOST_MESSAGES.test(messageOf(error));
}
