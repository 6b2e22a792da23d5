import type { Engine } from '../engines/engine.ts';

/**
 * What every template holds, as single-user sessions: one list of statements a database, run in this order. Superuser
 * is `cloud_admin`. Facts: reference/neon.md section 6 "Roles".
 */
export interface TemplateSession {
  readonly database: string;
  readonly statements: readonly string[];
}

type TemplateEngine = Pick<Engine, 'pgVersion' | 'source'>;

/** Frozen, analyzed and with all hint bits set, so that a clone's first reads write nothing. */
const SEAL = 'VACUUM (FREEZE, ANALYZE)';

/**
 * Before 16 a role with CREATEROLE may grant any role that is no superuser, these three too. As superusers that cannot
 * log in, only superusers may grant them.
 */
const HARDEN_BEFORE_16 = `UPDATE pg_catalog.pg_authid SET rolsuper = true
 WHERE rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')`;

/** Databases copied from template1 inherit these. */
const DEFAULT_PRIVILEGES = ['TABLES', 'SEQUENCES'].map(
  (kind) =>
    `ALTER DEFAULT PRIVILEGES FOR ROLE cloud_admin IN SCHEMA public GRANT ALL ON ${kind} TO neon_superuser WITH GRANT OPTION`,
);

/** @param adminVerifier SCRAM verifier of `cloud_admin` */
export function templateSessions(engine: TemplateEngine, adminVerifier: string): readonly TemplateSession[] {
  const { pgVersion } = engine;
  return [
    {
      database: 'template1',
      statements: [...roles(engine, adminVerifier), ...DEFAULT_PRIVILEGES, SEAL, createNeondb(pgVersion)],
    },
    {
      database: 'postgres',
      // From 15 on nobody else may create there: it is where the platform's sessions are.
      statements: [
        ...DEFAULT_PRIVILEGES,
        ...(pgVersion < 15 ? ['REVOKE CREATE ON SCHEMA public FROM PUBLIC'] : []),
        SEAL,
      ],
    },
    {
      database: 'neondb',
      statements: [
        // From 15 on the schema belongs to whoever owns the database.
        ...(pgVersion < 15 ? ['ALTER SCHEMA public OWNER TO neondb_owner'] : []),
        SEAL,
        // The last segment then holds nothing but the checkpoint of the shutdown.
        'SELECT pg_catalog.pg_switch_wal()',
      ],
    },
  ];
}

function roles({ pgVersion, source }: TemplateEngine, adminVerifier: string): string[] {
  // The libpq of the system may load a library that a subscription names as the engine of its key; ours cannot.
  const maySubscribe = pgVersion >= 16 && source === 'npm';
  const memberships = ['pg_read_all_data', 'pg_write_all_data', ...(maySubscribe ? ['pg_create_subscription'] : [])];
  const attributes = 'CREATEDB CREATEROLE BYPASSRLS REPLICATION';
  return [
    `CREATE ROLE neon_superuser NOLOGIN ${attributes} IN ROLE ${memberships.join(', ')}`,
    'GRANT pg_monitor, pg_signal_backend TO neon_superuser WITH ADMIN OPTION',
    `CREATE ROLE neondb_owner LOGIN ${attributes} IN ROLE neon_superuser`,
    ...(pgVersion < 16 ? [HARDEN_BEFORE_16] : []),
    `ALTER ROLE cloud_admin PASSWORD '${adminVerifier}'`,
  ];
}

/** A copy of the files: by WAL (the default from 15 on) it would write the database twice. */
function createNeondb(pgVersion: number): string {
  return `CREATE DATABASE neondb OWNER neondb_owner${pgVersion >= 15 ? ' STRATEGY file_copy' : ''}`;
}
