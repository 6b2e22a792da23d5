import { connectCompute, PLATFORM_ROLE, sessionOptions, type ComputeConnection } from '../compute/connection.ts';
import { quoteIdentifier } from '../compute/quoting.ts';
import { must } from '../kernel/assert.ts';
import type { Secret } from '../kernel/secret.ts';
import { dumpSchema } from '../pgdump/dump-schema.ts';
import type { FileOwner } from '../storage/volume-store.ts';
import type { RunDirectory } from '../compute/run-directory.ts';
import { createDatabase, openDatabases, readOwnedExtensions, writeDatabase } from './schema-databases.ts';
import { clearCluster, readRoles, writeRoles } from './schema-roles.ts';

/** A running Postgres that nobody else uses. */
export interface PrivatePostgres {
  readonly pgVersion: number;
  readonly directory: Pick<RunDirectory, 'socketDirectory' | 'socketPath'>;
  readonly owner: FileOwner | null;
  readonly password: Secret;
}

const DUMP_MS = 120_000;

/** Statements of one database. @throws PlatformError NOT_FOUND if there is no such database */
export async function dumpDatabase(
  postgres: PrivatePostgres,
  database: string,
  { withDatabase }: { readonly withDatabase: boolean },
): Promise<readonly string[]> {
  const { pgVersion, directory, owner, password } = postgres;
  return await dumpSchema(
    {
      socketPath: directory.socketPath,
      role: PLATFORM_ROLE,
      password,
      database,
      sessionOptions: sessionOptions(pgVersion),
    },
    { pgVersion, runAs: owner, deadlineMs: DUMP_MS, withDatabase },
  );
}

/**
 * Makes the roles and databases of `source` in `target`, a cluster as the template has it, without a row of any table.
 * Not copied: subscriptions, large objects, the values of sequences (they begin anew), the contents of materialized
 * views, and what is in the databases `postgres` and `template1`, where tenants may not create.
 * @throws PlatformError OPERATION_FAILED with the kind of the statement that was refused
 */
export async function copySchema(source: PrivatePostgres, target: PrivatePostgres): Promise<void> {
  const { pgVersion } = source;
  const databases = await withConnection(source, 'postgres', async (from) => {
    const roles = await readRoles(from, pgVersion);
    await withConnection(target, 'postgres', async (to) => {
      await clearCluster(to);
      await writeRoles(to, roles);
    });
    return await openDatabases(from);
  });
  for (const { name, allowsConnections } of databases) {
    await copyDatabase(source, target, name);
    if (allowsConnections) continue;
    await withConnection(target, 'postgres', async (to) => {
      await to.query(`ALTER DATABASE ${quoteIdentifier(name)} ALLOW_CONNECTIONS false`);
    });
  }
}

async function copyDatabase(source: PrivatePostgres, target: PrivatePostgres, name: string): Promise<void> {
  const extensions = await withConnection(source, name, readOwnedExtensions);
  const statements = await dumpDatabase(source, name, { withDatabase: true });
  const isCreate = (statement: string): boolean => statement.startsWith('CREATE DATABASE ');
  await withConnection(target, 'postgres', async (to) => {
    await createDatabase(to, must(statements.find(isCreate), 'a dump begins with its database'), target.pgVersion);
  });
  await withConnection(target, name, async (to) => {
    await writeDatabase(
      to,
      statements.filter((statement) => !isCreate(statement)),
      extensions,
    );
  });
}

async function withConnection<T>(
  { directory, password, pgVersion }: PrivatePostgres,
  database: string,
  work: (connection: ComputeConnection) => Promise<T>,
): Promise<T> {
  const connection = await connectCompute({
    socketDirectory: directory.socketDirectory,
    password,
    pgVersion,
    database,
  });
  try {
    return await work(connection);
  } finally {
    await connection.end().catch(() => undefined);
  }
}
