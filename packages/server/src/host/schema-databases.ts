import type { ComputeConnection } from '../compute/connection.ts';
import { quoteIdentifier } from '../compute/quoting.ts';
import { codeOf, messageOf, PlatformError } from '../kernel/errors.ts';

/** A database, with what a dump does not tell of it. */
export interface SourceDatabase {
  readonly name: string;
  readonly allowsConnections: boolean;
}

/** Extensions that belong to somebody else than the platform: a dump does not say whose they are. */
export interface OwnedExtension {
  readonly name: string;
  readonly owner: string;
}

/** The owner of what is not a tenant's. */
const BOOTSTRAP_OID = 10;
/** Of a database whose DROP was cut short. */
const INVALID_CONNLIMIT = -2;

/** The databases to copy, opened for connections: of a clone that nobody else sees. */
export async function openDatabases(connection: ComputeConnection): Promise<readonly SourceDatabase[]> {
  const { rows } = await connection.query<{ name: string; allowed: string }>(
    `SELECT datname AS name, datallowconn AS allowed FROM pg_database
      WHERE datname NOT IN ('postgres', 'template0', 'template1') AND datconnlimit <> ${INVALID_CONNLIMIT} ORDER BY oid`,
  );
  for (const { name, allowed } of rows) {
    if (allowed === 'f') await connection.query(`ALTER DATABASE ${quoteIdentifier(name)} ALLOW_CONNECTIONS true`);
  }
  return rows.map(({ name, allowed }) => ({ name, allowsConnections: allowed === 't' }));
}

export async function readOwnedExtensions(connection: ComputeConnection): Promise<readonly OwnedExtension[]> {
  const { rows } = await connection.query<OwnedExtension>(
    `SELECT extname AS name, rolname AS owner FROM pg_extension JOIN pg_authid r ON r.oid = extowner
      WHERE extowner <> ${BOOTSTRAP_OID}`,
  );
  return rows;
}

/** A CREATE DATABASE of a dump, as files and not as WAL: WAL stays, and is many times as large. */
export async function createDatabase(
  connection: ComputeConnection,
  statement: string,
  pgVersion: number,
): Promise<void> {
  await run(connection, `${statement}${pgVersion >= 15 ? ' STRATEGY = file_copy' : ''}`);
}

/**
 * Settings that a dump is to be run under; those of the platform's sessions hold beside them. What is made is on the
 * disk only after the clean stop that follows.
 */
const REPLAY_SETTINGS = [
  "search_path = ''",
  'check_function_bodies = off',
  'xmloption = content',
  'client_min_messages = error',
  'row_security = off',
  'synchronous_commit = off',
];

/** @param connection to the new database */
export async function writeDatabase(
  connection: ComputeConnection,
  statements: readonly string[],
  extensions: readonly OwnedExtension[],
): Promise<void> {
  for (const setting of REPLAY_SETTINGS) await connection.query(`SET ${setting}`);
  const guard = new FunctionGuard(connection);
  for (const statement of statements) {
    await guard.before(statement);
    await run(connection, statement);
  }
  await guard.end();
  for (const extension of extensions) await giveExtension(connection, extension);
}

/**
 * The statements run with the rights of the superuser, and some evaluate expressions of tenants: ATTACH PARTITION works
 * out constant parts of CHECK constraints. So until the end every function of a tenant is SECURITY DEFINER, runs as its
 * owner, and is inlined nowhere. (CREATE INDEX goes over to the owner of the table by itself.)
 */
class FunctionGuard {
  readonly #connection: ComputeConnection;
  readonly #guarded: string[] = [];
  #isDue = false;

  constructor(connection: ComputeConnection) {
    this.#connection = connection;
  }

  async before(statement: string): Promise<void> {
    const isOfFunction = FUNCTION_STATEMENT.test(statement);
    if (this.#isDue && !isOfFunction) await this.#guard();
    this.#isDue ||= isOfFunction;
  }

  async end(): Promise<void> {
    await this.#connection.query('UPDATE pg_catalog.pg_proc SET prosecdef = false WHERE oid = ANY ($1::oid[])', [
      this.#guarded,
    ]);
  }

  async #guard(): Promise<void> {
    this.#isDue = false;
    const { rows } = await this.#connection.query<{ oid: string }>(
      `UPDATE pg_catalog.pg_proc SET prosecdef = true
        WHERE NOT prosecdef AND prokind <> 'a' AND proowner <> ${BOOTSTRAP_OID} RETURNING oid`,
    );
    this.#guarded.push(...rows.map(({ oid }) => oid));
  }
}

/** Nothing of a tenant is evaluated by these, so a block of them is guarded at once. */
const FUNCTION_STATEMENT =
  /^(?:CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE) |ALTER (?:FUNCTION|PROCEDURE) [\s\S]* OWNER TO |COMMENT ON (?:FUNCTION|PROCEDURE) )/;

/** As it is after a tenant has made a trusted extension: theirs to change and drop, what is in it is not. */
async function giveExtension(connection: ComputeConnection, { name, owner }: OwnedExtension): Promise<void> {
  await connection.query(
    `WITH given AS (
       UPDATE pg_catalog.pg_extension SET extowner = r.oid FROM pg_catalog.pg_authid r
        WHERE extname = $1 AND rolname = $2 RETURNING pg_extension.oid, r.oid AS owner
     )
     INSERT INTO pg_catalog.pg_shdepend (dbid, classid, objid, objsubid, refclassid, refobjid, deptype)
     SELECT (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()),
            'pg_catalog.pg_extension'::regclass, oid, 0, 'pg_catalog.pg_authid'::regclass, owner, 'o' FROM given`,
    [name, owner],
  );
}

async function run(connection: ComputeConnection, statement: string): Promise<void> {
  try {
    await connection.query(statement);
  } catch (error) {
    const kind = /^(?:[A-Z]+(?: |$))+/.exec(statement)?.[0].trim() ?? 'a statement';
    throw new PlatformError('OPERATION_FAILED', `Cannot copy the schema: ${kind} was refused: ${messageOf(error)}`, {
      cause: error,
      details: { statement: kind, sqlstate: codeOf(error) ?? null },
    });
  }
}
