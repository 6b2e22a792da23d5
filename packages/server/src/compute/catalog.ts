import { PlatformError, codeOf, messageOf } from '../kernel/errors.ts';
import { parseVerifier } from '../kernel/scram-verifier.ts';
import { sleep } from '../kernel/wait.ts';
import type { ComputeConnection } from './connection.ts';
import { quoteIdentifier, quoteLiteral } from './quoting.ts';

/** As in `host/host.ts`. */
export type CatalogChange =
  | { readonly kind: 'put_role'; readonly name: string; readonly verifier: string }
  | { readonly kind: 'keep_role'; readonly name: string; readonly verifier: string }
  | { readonly kind: 'rename_role'; readonly name: string; readonly newName: string }
  | { readonly kind: 'drop_role'; readonly name: string }
  | { readonly kind: 'create_database'; readonly name: string; readonly owner: string }
  | { readonly kind: 'update_database'; readonly name: string; readonly newName: string; readonly owner: string }
  | { readonly kind: 'drop_database'; readonly name: string };

/** As in `host/host.ts`. */
export interface SeenCatalog {
  readonly roles: readonly { readonly name: string; readonly verifier: string | null }[];
  readonly databases: readonly { readonly name: string; readonly owner: string }[];
}

export interface CatalogSession {
  /** To the database `postgres`. */
  readonly connection: ComputeConnection;
  /** Opens a connection to another database of the compute; the caller ends it. */
  readonly connect: (database: string) => Promise<ComputeConnection>;
}

const RESERVED_ROLES = new Set(['cloud_admin', 'neon_superuser', 'postgres', 'public', 'none']);
const RESERVED_DATABASES = new Set(['postgres', 'template0', 'template1']);

/** SQLSTATEs: object in use, dependent objects still exist, reserved name. */
const OBJECT_IN_USE = '55006';
const DEPENDENT_OBJECTS = '2BP01';
const RESERVED_NAME = '42939';
/** Lock not available (`lock_timeout`), deadlock, statement timeout: of this moment, not of the change. */
const IN_THE_WAY = new Set(['55P03', '40P01', '57014']);

/** Renaming needs a moment without sessions; clients may come back faster than one try. */
const RENAME_TRIES = 20;

/**
 * Applies one change. A change that is already applied does nothing.
 * @throws PlatformError CATALOG_CHANGE_REFUSED with Postgres' message (details: `sqlstate`); DEADLINE_EXCEEDED, to be
 *   tried again, if a session of the tenant stood in the way
 */
export async function applyCatalogChange(session: CatalogSession, change: CatalogChange): Promise<void> {
  try {
    refuseReserved(change);
    await apply(session, change);
  } catch (error) {
    const sqlstate = codeOf(error);
    if (error instanceof PlatformError || !sqlstate) throw error;
    if (IN_THE_WAY.has(sqlstate)) {
      const message = `Cannot apply the change yet: ${messageOf(error)}`;
      throw new PlatformError('DEADLINE_EXCEEDED', message, { cause: error, details: { sqlstate } });
    }
    if (!isRefusal(sqlstate)) throw error;
    throw new PlatformError('CATALOG_CHANGE_REFUSED', messageOf(error), { cause: error, details: { sqlstate } });
  }
}

/** Roles that may log in and databases, without those of the platform and of Postgres itself. */
export async function readCatalog(connection: ComputeConnection): Promise<SeenCatalog> {
  const { rows } = await connection.query<string[]>({
    name: 'catalog',
    rowMode: 'array',
    text: `SELECT 'role', rolname, rolpassword FROM pg_authid WHERE rolcanlogin AND oid <> 10
      UNION ALL SELECT 'database', datname, pg_get_userbyid(datdba) FROM pg_database
      WHERE NOT datistemplate AND datname NOT IN ('postgres', 'template0', 'template1')
      ORDER BY 1, 2`,
  });
  const of = (kind: string): string[][] => rows.filter((row) => row[0] === kind);
  return {
    roles: of('role').map(([, name = '', password]) => ({ name, verifier: scramOrNull(password) })),
    databases: of('database').map(([, name = '', owner = '']) => ({ name, owner })),
  };
}

/** The SCRAM verifier of a role that may log in. */
export async function findVerifier(connection: ComputeConnection, role: string): Promise<string | undefined> {
  const { rows } = await connection.query<string[]>({
    name: 'verifier',
    rowMode: 'array',
    text: 'SELECT rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin AND oid <> 10',
    values: [role],
  });
  return scramOrNull(rows[0]?.[0]) ?? undefined;
}

const scramOrNull = (password: string | null | undefined): string | null =>
  password && parseVerifier(password) ? password : null;

/** Errors of the change itself; those of the connection, of shutdown and of resources are failures to be retried. */
const isRefusal = (sqlstate: string): boolean => /^(0A|22|23|28|2B|3D|3F|42|44|55|0L|0P)/.test(sqlstate);

async function apply(session: CatalogSession, change: CatalogChange): Promise<void> {
  const { connection } = session;
  switch (change.kind) {
    case 'put_role':
      return await putRole(connection, change.name, change.verifier);
    case 'keep_role':
      return await keepRole(connection, change.name, change.verifier);
    case 'rename_role':
      if (!(await hasRole(connection, change.name)) && (await hasRole(connection, change.newName))) return;
      await run(connection, `ALTER ROLE ${quoteIdentifier(change.name)} RENAME TO ${quoteIdentifier(change.newName)}`);
      return;
    case 'drop_role':
      return await dropRole(session, change.name);
    case 'create_database':
      if (await hasDatabase(connection, change.name)) return await setOwner(connection, change.name, change.owner);
      await run(connection, `CREATE DATABASE ${quoteIdentifier(change.name)} OWNER ${quoteIdentifier(change.owner)}`);
      return;
    case 'update_database':
      if (change.newName !== change.name && (await hasDatabase(connection, change.name))) {
        await renameDatabase(connection, change.name, change.newName);
      }
      return await setOwner(connection, change.newName, change.owner);
    case 'drop_database':
      await run(connection, `DROP DATABASE IF EXISTS ${quoteIdentifier(change.name)} WITH (FORCE)`);
  }
}

function refuseReserved(change: CatalogChange): void {
  const names = 'newName' in change ? [change.name, change.newName] : [change.name];
  const isRole = change.kind.endsWith('_role');
  for (const name of names) {
    const isReserved = isRole ? RESERVED_ROLES.has(name) || /^pg_/i.test(name) : RESERVED_DATABASES.has(name);
    if (!isReserved) continue;
    const message = `${isRole ? 'role' : 'database'} name "${name}" is reserved`;
    throw new PlatformError('CATALOG_CHANGE_REFUSED', message, { details: { sqlstate: RESERVED_NAME } });
  }
  // One that is too weak for a login is the role's nevertheless.
  if ('verifier' in change && !parseVerifier(change.verifier, 1)) {
    throw new PlatformError('CATALOG_CHANGE_REFUSED', 'the verifier of the role is malformed', {
      details: { sqlstate: '22023' },
    });
  }
}

/** A role that SQL made keeps its attributes: a new password must not raise its rights. */
async function putRole(connection: ComputeConnection, name: string, verifier: string): Promise<void> {
  const role = quoteIdentifier(name);
  const login = `LOGIN PASSWORD ${quoteLiteral(verifier)}`;
  await run(
    connection,
    (await hasRole(connection, name))
      ? `ALTER ROLE ${role} ${login}`
      : `CREATE ROLE ${role} ${login} INHERIT CREATEDB CREATEROLE BYPASSRLS REPLICATION IN ROLE neon_superuser`,
  );
}

/** Most clones have the verifier already, and then there is nothing to write, and to sync. */
async function keepRole(connection: ComputeConnection, name: string, verifier: string): Promise<void> {
  const { rows } = await connection.query<[string]>({
    rowMode: 'array',
    text: 'SELECT rolcanlogin AND coalesce(rolpassword = $2, false) FROM pg_authid WHERE rolname = $1',
    values: [name, verifier],
  });
  if (rows[0]?.[0] === 'f') await putRole(connection, name, verifier);
}

/**
 * Drops a role, and what it owns or was granted goes to the owner of the database it is in. A role that owns a whole
 * database is refused, in Postgres' words.
 */
async function dropRole({ connection, connect }: CatalogSession, name: string): Promise<void> {
  const role = quoteIdentifier(name);
  const drop = `DROP ROLE IF EXISTS ${role}`;
  try {
    return await run(connection, drop);
  } catch (error) {
    if (codeOf(error) !== DEPENDENT_OBJECTS) throw error;
    const { rows: owned } = await connection.query({
      text: 'SELECT 1 FROM pg_database d JOIN pg_authid r ON r.oid = d.datdba WHERE r.rolname = $1',
      values: [name],
    });
    if (owned.length > 0) throw error;
  }
  const { rows } = await connection.query<[string, string]>({
    rowMode: 'array',
    text: 'SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datallowconn',
  });
  for (const [database, owner] of rows) {
    const inside = await connect(database);
    try {
      await run(inside, `REASSIGN OWNED BY ${role} TO ${quoteIdentifier(owner)}`);
      await run(inside, `DROP OWNED BY ${role}`);
    } finally {
      await inside.end();
    }
  }
  await run(connection, drop);
}

async function renameDatabase(connection: ComputeConnection, name: string, newName: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    await connection.query({
      text: 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()',
      values: [name],
    });
    try {
      await run(connection, `ALTER DATABASE ${quoteIdentifier(name)} RENAME TO ${quoteIdentifier(newName)}`);
      return;
    } catch (error) {
      if (codeOf(error) !== OBJECT_IN_USE || attempt === RENAME_TRIES) throw error;
    }
    await sleep(25 * attempt);
  }
}

async function setOwner(connection: ComputeConnection, database: string, owner: string): Promise<void> {
  await run(connection, `ALTER DATABASE ${quoteIdentifier(database)} OWNER TO ${quoteIdentifier(owner)}`);
}

async function hasRole(connection: ComputeConnection, name: string): Promise<boolean> {
  const { rowCount } = await connection.query('SELECT 1 FROM pg_authid WHERE rolname = $1', [name]);
  return rowCount === 1;
}

async function hasDatabase(connection: ComputeConnection, name: string): Promise<boolean> {
  const { rowCount } = await connection.query('SELECT 1 FROM pg_database WHERE datname = $1', [name]);
  return rowCount === 1;
}

async function run(connection: ComputeConnection, sql: string): Promise<void> {
  await connection.query(sql);
}

/** Bytes of all databases. */
export async function readSize(connection: ComputeConnection): Promise<number> {
  const text = 'SELECT sum(pg_database_size(oid)) FROM pg_database';
  const { rows } = await connection.query<[string]>({ rowMode: 'array', text });
  return Number(rows[0]?.[0]);
}
