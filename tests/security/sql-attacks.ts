import { existsSync } from 'node:fs';
import { tryPsql } from '../support/psql.ts';

/** What a tenant tries in its own database to get out of it. Each must be refused with one of the SQLSTATEs. */
interface SqlAttack {
  readonly name: string;
  readonly sql: string;
  /** Default: 42501, insufficient privilege. */
  readonly sqlstates?: readonly string[];
}

const attack = (name: string, sql: string, ...sqlstates: string[]): SqlAttack =>
  sqlstates.length > 0 ? { name, sql, sqlstates } : { name, sql };

/** 0A000: this build does not have it at all, which is as good. */
const NOT_HERE = ['42501', '0A000', '58P01', '42704'];

export const SQL_ATTACKS: readonly SqlAttack[] = [
  attack('COPY from a program', `CREATE TEMP TABLE t (x text); COPY t FROM PROGRAM 'id'`),
  attack('COPY to a program', `COPY (SELECT 1) TO PROGRAM 'cat > /tmp/tenantry-attack'`),
  attack('COPY from a file', `CREATE TEMP TABLE t (x text); COPY t FROM '/etc/passwd'`),
  attack('COPY to a file', `COPY (SELECT 1) TO '/tmp/tenantry-attack'`),
  attack('pg_read_file', `SELECT pg_read_file('/etc/passwd')`),
  attack('pg_read_file of its own', `SELECT pg_read_file('postgresql.conf')`),
  attack('pg_read_binary_file', `SELECT pg_read_binary_file('/etc/passwd')`),
  attack('pg_stat_file', `SELECT pg_stat_file('/etc/passwd')`),
  attack('pg_ls_dir', `SELECT pg_ls_dir('/')`),
  attack('lo_import', `SELECT lo_import('/etc/passwd')`),
  attack('lo_export', `SELECT lo_export(lo_from_bytea(0, 'x'), '/tmp/tenantry-attack')`),
  attack(
    'C function',
    `CREATE FUNCTION sys(cstring) RETURNS int LANGUAGE c STRICT AS '/lib/x86_64-linux-gnu/libc.so.6', 'system'`,
  ),
  attack('internal function', `CREATE FUNCTION f(text) RETURNS text LANGUAGE internal AS 'pg_read_file_all'`),
  attack('LOAD of any library', `LOAD '/lib/x86_64-linux-gnu/libc.so.6'`),
  attack('LOAD of a plugin', `LOAD '$libdir/plugins/../dblink'`, '42501', '58P01'),
  attack('session_preload_libraries', `SET session_preload_libraries = 'x'`),
  attack('preload by database', `ALTER DATABASE neondb SET session_preload_libraries = '/tmp/x.so'`),
  attack('preload by role', `ALTER ROLE neondb_owner SET session_preload_libraries = '/tmp/x.so'`),
  attack('dynamic_library_path', `SET dynamic_library_path = '/tmp'`),
  attack('ALTER SYSTEM', `ALTER SYSTEM SET archive_command = 'id'`, '42501', '0A000'),
  attack('reload', `SELECT pg_reload_conf()`),
  attack('extension file_fdw', `CREATE EXTENSION file_fdw`, ...NOT_HERE),
  attack('extension plpython3u', `CREATE EXTENSION plpython3u`, ...NOT_HERE),
  attack('extension plperlu', `CREATE EXTENSION plperlu`, ...NOT_HERE),
  attack('extension pltclu', `CREATE EXTENSION pltclu`, ...NOT_HERE),
  attack('extension adminpack', `CREATE EXTENSION adminpack`, ...NOT_HERE),
  attack('extension pageinspect', `CREATE EXTENSION pageinspect`, ...NOT_HERE),
  attack('extension pg_surgery', `CREATE EXTENSION pg_surgery`, ...NOT_HERE),
  attack('extension pg_walinspect', `CREATE EXTENSION pg_walinspect`, ...NOT_HERE),
  attack('superuser by ALTER', `ALTER ROLE neondb_owner SUPERUSER`),
  attack('superuser by CREATE', `CREATE ROLE evil SUPERUSER LOGIN PASSWORD 'x'`),
  attack('membership by CREATE', `CREATE ROLE evil IN ROLE cloud_admin`),
  attack('grant of cloud_admin', `GRANT cloud_admin TO neondb_owner`),
  attack('grant of server programs', `GRANT pg_execute_server_program TO neondb_owner`),
  attack('grant of file reads', `GRANT pg_read_server_files TO neondb_owner`),
  attack('grant of file writes', `GRANT pg_write_server_files TO neondb_owner`),
  attack('grant to a new role', `CREATE ROLE helper; GRANT pg_execute_server_program TO helper`),
  attack('grant at creation', `CREATE ROLE helper_at_once IN ROLE pg_execute_server_program`),
  attack('SET ROLE', `SET ROLE cloud_admin`),
  attack('SET SESSION AUTHORIZATION', `SET SESSION AUTHORIZATION cloud_admin`),
  attack('password of cloud_admin', `ALTER ROLE cloud_admin PASSWORD 'x'`),
  attack('settings of cloud_admin', `ALTER ROLE cloud_admin SET search_path = 'public'`),
  attack('settings of cloud_admin here', `ALTER ROLE cloud_admin IN DATABASE neondb SET role = 'neondb_owner'`),
  attack('settings of all roles', `ALTER ROLE ALL SET search_path = 'public'`),
  attack('rename of cloud_admin', `ALTER ROLE cloud_admin RENAME TO gone`),
  attack('drop of cloud_admin', `DROP ROLE cloud_admin`),
  attack('ownership of cloud_admin', `REASSIGN OWNED BY cloud_admin TO neondb_owner`),
  attack('update of pg_authid', `UPDATE pg_authid SET rolsuper = true`),
  attack('update of pg_proc', `UPDATE pg_proc SET proowner = 10 WHERE proname = 'x'`),
  attack(
    'event trigger',
    `CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION et()`,
  ),
  attack('tablespace', `CREATE TABLESPACE t LOCATION '/tmp'`),
  attack('cast without a function', `CREATE CAST (bytea AS text) WITHOUT FUNCTION`),
  attack('access method', `CREATE ACCESS METHOD m TYPE INDEX HANDLER bthandler`),
  attack(
    'operator class',
    `CREATE OPERATOR CLASS oc FOR TYPE int USING btree AS OPERATOR 1 <(int, int), FUNCTION 1 btint4cmp(int, int)`,
  ),
  attack('database owned by the platform', `CREATE DATABASE d OWNER cloud_admin`),
  attack('rename of postgres', `ALTER DATABASE postgres RENAME TO gone`),
  attack('drop of template1', `DROP DATABASE template1`, '42501', '42809', '55006'),
  attack('settings of template1', `ALTER DATABASE template1 SET role = 'x'`),
  attack('settings of postgres', `ALTER DATABASE postgres SET search_path = 'x'`),
  attack(
    'secure definer as cloud_admin',
    `CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f() OWNER TO cloud_admin`,
  ),
  attack(
    'dblink without a password',
    `CREATE EXTENSION IF NOT EXISTS dblink; SELECT dblink_connect('dbname=postgres user=cloud_admin')`,
    '2F003',
    '42501',
    '08001',
  ),
  attack('dblink unchecked', `CREATE EXTENSION IF NOT EXISTS dblink; SELECT dblink_connect_u('dbname=postgres')`),
  attack(
    'postgres_fdw without a password',
    `CREATE EXTENSION IF NOT EXISTS postgres_fdw;
    CREATE SERVER IF NOT EXISTS s FOREIGN DATA WRAPPER postgres_fdw;
    CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (password_required 'false')`,
  ),
  attack('log of statements', `SET log_statement = 'all'`),
  attack('zero_damaged_pages', `SET zero_damaged_pages = on`),
  attack('allow_system_table_mods', `SET allow_system_table_mods = on`),
  attack(
    'physical slot by function',
    `SELECT pg_create_physical_replication_slot('s', true); DO 'BEGIN IF current_setting(''max_slot_wal_keep_size'') = ''-1'' THEN RAISE ''slots may fill the disk''; END IF; RAISE insufficient_privilege; END'`,
    '42501',
  ),
];

/** `refused` if it was, as it should be; else what happened. */
export async function outcomeOf({ sql, sqlstates = ['42501'] }: SqlAttack, uri: string): Promise<string> {
  const quiet = `SET client_min_messages = error; ${sql.replaceAll('neondb_owner', new URL(uri).username)};`;
  const { code, stderr, stdout } = await tryPsql(uri, quiet);
  if (existsSync('/tmp/tenantry-attack')) return 'wrote a file';
  if (code === 0) return `was allowed: ${stdout}`;
  return sqlstates.includes(/ERROR:\s+(\w{5}):/.exec(stderr)?.[1] ?? '') ? 'refused' : stderr;
}
