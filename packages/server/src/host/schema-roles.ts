import type { ComputeConnection } from '../compute/connection.ts';
import { quoteIdentifier, quoteLiteral } from '../compute/quoting.ts';

/** All roles of a cluster that are not Postgres' own, as they stand in its catalog. Booleans are `t` and `f`. */
export interface ClusterRoles {
  readonly roles: readonly Role[];
  readonly memberships: readonly Membership[];
  /** Settings of roles in all databases; a null role is all roles. */
  readonly settings: readonly { readonly role: string | null; readonly config: string }[];
}

type Flag = 't' | 'f';

interface Role {
  readonly name: string;
  readonly rolsuper: Flag;
  readonly rolinherit: Flag;
  readonly rolcreaterole: Flag;
  readonly rolcreatedb: Flag;
  readonly rolcanlogin: Flag;
  readonly rolreplication: Flag;
  readonly rolbypassrls: Flag;
  readonly connlimit: string;
  readonly verifier: string | null;
  readonly validuntil: string | null;
  readonly comment: string | null;
}

interface Membership {
  readonly role: string;
  readonly member: string;
  /** Null if it is a role that is gone (before 16). */
  readonly grantor: string | null;
  readonly isByBootstrap: Flag;
  readonly admin: Flag;
  /** Null before 16. */
  readonly inherit: Flag | null;
  readonly set: Flag | null;
}

/** Of every cluster: the bootstrap superuser, and names that nobody may give. Not by oid: the template's roles have low ones. */
const isSystem = (row: string): string => `(${row}.oid = 10 OR starts_with(${row}.rolname, 'pg_'))`;
/** Of the template, in the default privileges of its databases: it is changed, and never dropped. */
const KEPT_ROLE = 'neon_superuser';

export async function readRoles(connection: ComputeConnection, pgVersion: number): Promise<ClusterRoles> {
  const options = pgVersion >= 16 ? 'inherit_option AS inherit, set_option AS set' : 'NULL AS inherit, NULL AS set';
  const [roles, memberships, settings] = [
    await connection.query<Role>(
      `SELECT rolname AS name, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
              rolconnlimit AS connlimit, rolpassword AS verifier, rolvaliduntil AS validuntil,
              shobj_description(oid, 'pg_authid') AS comment
         FROM pg_authid r WHERE NOT ${isSystem('r')} ORDER BY oid`,
    ),
    await connection.query<Membership>(
      `SELECT r.rolname AS role, m.rolname AS member, g.rolname AS grantor, grantor = 10 AS "isByBootstrap",
              admin_option AS admin, ${options}
         FROM pg_auth_members a JOIN pg_authid r ON r.oid = roleid JOIN pg_authid m ON m.oid = member
         LEFT JOIN pg_authid g ON g.oid = grantor
        WHERE NOT ${isSystem('m')} ORDER BY 1, 2, 3`,
    ),
    await connection.query<{ role: string | null; config: string }>(
      `SELECT rolname AS role, setconfig AS config FROM pg_db_role_setting LEFT JOIN pg_authid r ON r.oid = setrole
        WHERE setdatabase = 0 AND (setrole = 0 OR NOT ${isSystem('r')}) ORDER BY 1`,
    ),
  ];
  return { roles: roles.rows, memberships: memberships.rows, settings: settings.rows };
}

/** Drops what the template has beside the system: its database, its owner. */
export async function clearCluster(connection: ComputeConnection): Promise<void> {
  const databases = await connection.query<{ name: string }>(
    `SELECT datname AS name FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')`,
  );
  for (const { name } of databases.rows) await connection.query(`DROP DATABASE ${quoteIdentifier(name)}`);
  const roles = await connection.query<{ name: string }>(
    `SELECT rolname AS name FROM pg_authid r WHERE NOT ${isSystem('r')} AND rolname <> '${KEPT_ROLE}'`,
  );
  for (const { name } of roles.rows) await connection.query(`DROP ROLE ${quoteIdentifier(name)}`);
}

/** Makes the roles in a cluster that has none of them but perhaps `neon_superuser`. */
export async function writeRoles(
  connection: ComputeConnection,
  { roles, memberships, settings }: ClusterRoles,
): Promise<void> {
  const present = await connection.query<{ name: string }>('SELECT rolname AS name FROM pg_authid');
  const names = new Set(present.rows.map(({ name }) => name));
  for (const role of roles) {
    await connection.query(`${names.has(role.name) ? 'ALTER' : 'CREATE'} ROLE ${roleText(role)}`);
    if (role.comment === null) continue;
    await connection.query(`COMMENT ON ROLE ${quoteIdentifier(role.name)} IS ${quoteLiteral(role.comment)}`);
  }
  for (const membership of inOrderOfGrants(memberships)) await connection.query(grantText(membership));
  // As they stand: which of them are lists, and so are quoted otherwise, only Postgres knows.
  for (const { role, config } of settings) {
    await connection.query(
      `INSERT INTO pg_db_role_setting (setdatabase, setrole, setconfig)
       SELECT 0, coalesce((SELECT oid FROM pg_authid WHERE rolname = $1), 0), $2::text[]`,
      [role, config],
    );
  }
}

function roleText(role: Role): string {
  const flag = (value: Flag, word: string): string => (value === 't' ? word : `NO${word}`);
  return [
    quoteIdentifier(role.name),
    flag(role.rolsuper, 'SUPERUSER'),
    flag(role.rolinherit, 'INHERIT'),
    flag(role.rolcreaterole, 'CREATEROLE'),
    flag(role.rolcreatedb, 'CREATEDB'),
    flag(role.rolcanlogin, 'LOGIN'),
    flag(role.rolreplication, 'REPLICATION'),
    flag(role.rolbypassrls, 'BYPASSRLS'),
    `CONNECTION LIMIT ${role.connlimit}`,
    `PASSWORD ${role.verifier === null ? 'NULL' : quoteLiteral(role.verifier)}`,
    ...(role.validuntil === null ? [] : [`VALID UNTIL ${quoteLiteral(role.validuntil)}`]),
  ].join(' ');
}

function grantText({ role, member, grantor, admin, inherit, set }: Membership): string {
  const grant = `GRANT ${quoteIdentifier(role)} TO ${quoteIdentifier(member)}`;
  const by = grantor === null ? '' : ` GRANTED BY ${quoteIdentifier(grantor)}`;
  if (inherit === null || set === null) return `${grant}${admin === 't' ? ' WITH ADMIN OPTION' : ''}${by}`;
  const word = (value: Flag): string => (value === 't' ? 'TRUE' : 'FALSE');
  return `${grant} WITH ADMIN ${word(admin)}, INHERIT ${word(inherit)}, SET ${word(set)}${by}`;
}

/** From 16 on a grantor must itself have been granted the role with the right to pass it on. */
function inOrderOfGrants(memberships: readonly Membership[]): readonly Membership[] {
  const ordered: Membership[] = [];
  let rest = memberships;
  while (rest.length > 0) {
    const mayGrant = (of: Membership): boolean =>
      of.isByBootstrap === 't' ||
      of.grantor === null ||
      ordered.some(({ role, member, admin }) => role === of.role && member === of.grantor && admin === 't');
    const next = rest.filter(mayGrant);
    // Before 16 nobody keeps the order; there any is right.
    ordered.push(...(next.length > 0 ? next : rest));
    rest = next.length > 0 ? rest.filter((membership) => !next.includes(membership)) : [];
  }
  return ordered;
}
