import { Client } from 'pg';
import type { Secret } from '../kernel/secret.ts';

export interface ConnectOptions {
  readonly socketDirectory: string;
  readonly password: Secret;
  readonly database?: string;
}

export type ComputeConnection = Client;

/** The superuser of every compute. Only the platform has its password. */
export const PLATFORM_ROLE = 'cloud_admin';
const CONNECT_MS = 10_000;

/**
 * A connection of the platform to a compute. Its search path holds the catalog only, so that nothing that a tenant
 * creates, an operator or a function, is ever run with the platform's rights.
 */
export async function connectCompute({ socketDirectory, password, database }: ConnectOptions): Promise<Client> {
  const client = new Client({
    host: socketDirectory,
    port: 5432,
    user: PLATFORM_ROLE,
    password: password.reveal(),
    database: database ?? 'postgres',
    application_name: 'tenantry',
    connectionTimeoutMillis: CONNECT_MS,
    ssl: false,
    options: '-c search_path=pg_catalog -c statement_timeout=60s -c lock_timeout=10s -c idle_session_timeout=0',
    types: { getTypeParser: () => (text: string) => text },
  });
  // The end of a connection is seen by whoever uses it next; without a listener the event would end this process.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}
