import { chmodSync, copyFileSync, existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestProject } from '../support/api.ts';
import { must } from '../support/must.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { run } from '../support/run.ts';
import { startPlatform, type ComputeProcess, type RunningPlatform } from '../support/start-platform.ts';
import { withDatabase, withParameters, withRole } from '../support/uri.ts';
import { waitUntil } from '../support/wait-until.ts';
import { outcomeOf, SQL_ATTACKS } from './sql-attacks.ts';

const IS_ROOT = process.getuid?.() === 0;
/** Ends with 7 if the socket cannot be reached. Perl is part of every Debian, and readable by all; our Node may not be. */
const CONNECT =
  'use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or do { print STDERR $!; exit 7 }';

let platform: RunningPlatform;
let mine: TestProject;
let other: TestProject;
/** Takes the wrong passwords: ten of them close an endpoint to an address for two minutes. */
let bystander: TestProject;
beforeAll(async () => {
  platform = await startPlatform();
  [mine, other, bystander] = (await Promise.all(
    ['mine', 'other', 'bystander'].map(
      async (name) => await platform.api.createProject({ name, branch: { database_name: name } }),
    ),
  )) as [TestProject, TestProject, TestProject];
  await platform.api.createDatabase(mine, 'neondb', roleOf(mine));
  await psql(other.uri, `CREATE TABLE treasure AS SELECT 'gold of another tenant' AS what`);
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

const roleOf = (project: TestProject): string => new URL(project.uri).username;

describe('the ways in', () => {
  it('lets no role into the endpoint of another', async () => {
    const crossed = [
      mine.uri.replace(mine.endpointId, other.endpointId),
      withDatabase(mine.uri.replace(mine.endpointId, other.endpointId), 'other'),
      withRole(mine.uri, roleOf(other), other.password),
      withRole(other.uri, roleOf(mine), mine.password),
      withRole(other.uri, 'cloud_admin', mine.password),
      withRole(other.uri, 'neon_superuser', mine.password),
      withRole(other.uri, 'cloud_admin', ''),
    ];
    for (const uri of crossed) {
      const { code, stderr } = await tryPsql(uri, 'SELECT 1');
      expect(code, stderr).not.toBe(0);
      expect(stderr).toMatch(/password authentication failed|no password supplied|is protected/);
    }
  });

  it('shows nothing of another project', async () => {
    expect((await tryPsql(withDatabase(mine.uri, 'other'), 'SELECT 1')).stderr).toMatch(
      /database "other" does not exist/,
    );
    expect((await psql(mine.uri, 'SELECT datname FROM pg_database ORDER BY 1')).split('\n')).toEqual([
      'mine',
      'neondb',
      'postgres',
      'template0',
      'template1',
    ]);
    const roles = await psql(mine.uri, `SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1`);
    expect(roles.split('\n')).toEqual(['cloud_admin', 'mine_owner', 'neon_superuser']);
  });

  it('refuses physical replication, and base backups to files of the server', async () => {
    const physical = await tryPsql(withParameters(mine.uri, { replication: 'true' }), 'IDENTIFY_SYSTEM;');
    expect(physical.stderr).toContain('no pg_hba.conf entry for replication');
    // The one that logical replication needs can back up what is the tenant's own anyway, but not to the server.
    const logical = withParameters(mine.uri, { replication: 'database' });
    const backup = await tryPsql(logical, `BASE_BACKUP (TARGET 'server', TARGET_DETAIL '/tmp/tenantry-attack')`);
    expect(backup.stderr).toContain('permission denied');
    expect(existsSync('/tmp/tenantry-attack')).toBe(false);
  });

  it('refuses startup options that only superusers may set', async () => {
    const url = new URL(mine.uri);
    for (const option of ['session_preload_libraries=x', 'log_statement=all', 'role=cloud_admin']) {
      const options = `${must(url.searchParams.get('options'))} -c ${option}`;
      const uri = `${mine.uri.split('?')[0]}?options=${encodeURIComponent(options)}`;
      expect((await tryPsql(uri, 'SELECT 1')).stderr, option).toMatch(/permission denied|must be superuser/);
    }
  });
});

/** The same on every other version of Postgres: `tests/system/versions.system.test.ts`. */
describe('SQL of a tenant', () => {
  for (const attack of SQL_ATTACKS) {
    it(`cannot: ${attack.name}`, async () => {
      expect(await outcomeOf(attack, withDatabase(mine.uri, 'neondb'))).toBe('refused');
    });
  }

  it('cannot read verifiers as a role that it made itself', async () => {
    // Roles of the API can, as in Neon: pg_read_all_data reaches pg_authid. They see their own project's alone.
    await psql(mine.uri, `CREATE ROLE plain LOGIN PASSWORD 'plain'`);
    const plain = withRole(mine.uri, 'plain', 'plain');
    for (const view of ['pg_authid', 'pg_shadow']) {
      expect((await tryPsql(plain, `SELECT * FROM ${view}`)).stderr).toContain('42501');
    }
    await psql(mine.uri, 'DROP ROLE plain');
  });

  it('cannot plant anything in the databases of the platform', async () => {
    for (const database of ['postgres', 'template1']) {
      for (const sql of ['CREATE TABLE public.t (x int)', 'CREATE SCHEMA evil', 'CREATE EXTENSION hstore']) {
        const { code, stderr } = await tryPsql(withDatabase(mine.uri, database), sql);
        expect(code, `${sql} in ${database}`).not.toBe(0);
        expect(stderr).toMatch(/42501|permission denied/);
      }
    }
  });

  it('cannot end or cancel a backend of the platform', async () => {
    for (const call of ['pg_terminate_backend', 'pg_cancel_backend']) {
      const { code, stdout, stderr } = await tryPsql(
        mine.uri,
        `SELECT ${call}(pid) FROM pg_stat_activity WHERE usename = 'cloud_admin'`,
      );
      if (code === 0) expect(stdout.trim(), 'no backend of the platform was there to signal').toBe('');
      else expect(stderr).toContain('42501');
    }
  });

  it('cannot hold WAL without end by a slot', async () => {
    expect(await psql(mine.uri, 'SHOW max_slot_wal_keep_size')).not.toBe('-1');
  });

  it('cannot lure the platform into code of its own', async () => {
    const uri = withDatabase(mine.uri, 'neondb');
    await psql(uri, trap(roleOf(mine)));
    // Everything that the platform does in a compute: start, probes, catalog reads, roles, databases, suspend.
    const role = await platform.api.createRole(mine, 'bait');
    await platform.api.createDatabase(mine, 'bait_db', role.name);
    const base = `/projects/${mine.id}/branches/${mine.branchId}`;
    await platform.api.call('PATCH', `${base}/databases/bait_db`, { database: { name: 'bait_db2' } });
    await platform.api.settled(mine.id);
    await platform.api.suspend(mine);
    await platform.api.call('POST', `${base}/roles/bait/reset_password`);
    await platform.api.settled(mine.id);
    await platform.api.updateEndpoint(mine, { suspend_timeout_seconds: 1 });
    await psql(mine.uri, 'SELECT pg_sleep(2)');
    await waitUntil('an autosuspend', () => !platform.compute(mine.branchId), 20_000);
    await platform.api.call('DELETE', `${base}/databases/bait_db2`);
    await platform.api.call('DELETE', `${base}/roles/bait`);
    await platform.api.settled(mine.id);
    await platform.api.updateEndpoint(mine, { suspend_timeout_seconds: 0 });
    expect(await psql(uri, `SELECT who FROM evil.caught`), 'users that ran the code').toBe('');
    await psql(uri, 'ALTER DATABASE neondb RESET ALL; ALTER DATABASE mine RESET ALL');
    expect(await psql(mine.uri, `SELECT rolname FROM pg_roles WHERE rolsuper AND rolname !~ '^pg_'`)).toBe(
      'cloud_admin',
    );
  });

  it('cannot break the platform by settings of its databases', async () => {
    const uri = withDatabase(mine.uri, 'neondb');
    await psql(
      uri,
      `CREATE ROLE nobody_at_all;
       ALTER DATABASE mine SET default_transaction_read_only = on;
       ALTER DATABASE mine SET statement_timeout = 1;
       ALTER DATABASE mine SET lock_timeout = 1;
       ALTER DATABASE mine SET search_path = nowhere;
       ALTER DATABASE mine SET standard_conforming_strings = off;
       ALTER DATABASE mine SET role = 'nobody_at_all';
       ALTER DATABASE mine SET local_preload_libraries = 'nothing';
       ALTER DATABASE mine CONNECTION LIMIT 0;`,
    );
    await platform.api.suspend(mine);
    const role = await platform.api.createRole(mine, 'still_works');
    await platform.api.createDatabase(mine, 'still_works', role.name);
    await platform.api.suspend(mine);
    expect(await psql(uri, `SELECT count(*) FROM pg_database WHERE datname = 'still_works'`)).toBe('1');
    await psql(uri, 'ALTER DATABASE mine CONNECTION LIMIT -1; ALTER DATABASE mine RESET ALL');
  });

  it('cannot keep the platform out by taking all connections', async () => {
    const max = Number(await psql(mine.uri, 'SHOW max_connections'));
    const { Client } = await import('pg');
    const clients = Array.from(
      { length: max + 5 },
      () => new Client({ connectionString: withDatabase(mine.uri, 'neondb') }),
    );
    for (const client of clients) client.on('error', () => {});
    const outcomes = await Promise.allSettled(clients.map(async (client) => await client.connect()));
    const refused = outcomes.filter((o) => o.status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: '53300' });
    await platform.api.createRole(mine, 'in_spite_of_all');
    await platform.api.suspend(mine);
    expect(await psql(withDatabase(mine.uri, 'neondb'), 'SELECT 1')).toBe('1');
    await Promise.allSettled(clients.map(async (client) => await client.end()));
  });
});

describe('sockets of others', () => {
  it("load no library that a tenant names as the engine of libpq's key", async () => {
    // The platform's own CA is a certificate that everybody may read; any other would do.
    const uri = withDatabase(mine.uri, 'neondb');
    const certificate = join(tmpdir(), `tenantry-engine-${process.pid}.pem`);
    copyFileSync(platform.caCert, certificate);
    chmodSync(certificate, 0o644);
    const words = `host=127.0.0.1 port=${platform.pgPort} user=x password=x dbname=y sslmode=require`;
    const conninfo = `${words} options=endpoint=${mine.endpointId} sslcert=${certificate} sslkey=/no/such/library.so:key`;
    await psql(uri, 'CREATE EXTENSION IF NOT EXISTS dblink');
    for (const sql of [
      `SELECT dblink_connect('${conninfo}')`,
      `CREATE SUBSCRIPTION s CONNECTION '${conninfo}' PUBLICATION p`,
    ]) {
      const { stderr } = await tryPsql(uri, sql);
      // Had it looked for the library, it would say that it could not load the engine.
      expect(stderr, sql).toContain('from engine "/no/such/library.so": no load function');
    }
    rmSync(certificate);
  });

  it('are out of reach of dblink, postgres_fdw and subscriptions', async () => {
    await Promise.all([psql(mine.uri, 'SELECT 1'), psql(other.uri, 'SELECT 1')]);
    const sockets = postgresSockets();
    expect(sockets.length, 'own, other, metadata').toBeGreaterThanOrEqual(3);
    const uri = withDatabase(mine.uri, 'neondb');
    await psql(uri, 'CREATE EXTENSION IF NOT EXISTS dblink; CREATE EXTENSION IF NOT EXISTS postgres_fdw');
    const logins = [
      { user: roleOf(other), password: other.password, dbname: 'other' },
      { user: 'cloud_admin', password: 'x', dbname: 'postgres' },
      { user: 'postgres', password: 'x', dbname: 'postgres' },
    ];
    const targets = [
      ...sockets.map((path) => ({ host: dirname(path), port: must(path.split('.').at(-1)) })),
      {
        host: 'localhost',
        port: String(platform.pgPort),
        options: `endpoint=${bystander.endpointId}`,
        password: 'wrong',
      },
      {
        host: '127.0.0.1',
        port: String(platform.pgPort),
        options: `endpoint=${bystander.endpointId}`,
        password: mine.password,
      },
    ];
    for (const target of targets) {
      for (const login of logins) {
        const words = { ...login, ...target, connect_timeout: '3' };
        const conninfo = Object.entries(words)
          .map(([k, v]) => `${k}=${v}`)
          .join(' ');
        const attempts = [
          `SELECT dblink_connect('${conninfo}')`,
          `CREATE SUBSCRIPTION s CONNECTION '${conninfo}' PUBLICATION p`,
          foreignTable(words),
        ];
        for (const sql of attempts) {
          const { code, stderr } = await tryPsql(uri, sql);
          expect(code, `${sql} was allowed`).not.toBe(0);
          expect(stderr, sql).toMatch(/ 08001:| 08006:| 2F003:| 42501:/);
        }
      }
    }
  });

  it('are out of reach of COPY and of file functions', async () => {
    await Promise.all([psql(mine.uri, 'SELECT 1'), psql(other.uri, 'SELECT 1')]);
    const uri = withDatabase(mine.uri, 'neondb');
    for (const path of postgresSockets()) {
      const host = dirname(path);
      for (const sql of [
        `CREATE TEMP TABLE t (x text); COPY t FROM '${path}'`,
        `COPY (SELECT 1) TO '${path}'`,
        `CREATE TEMP TABLE t (x text); COPY t FROM PROGRAM 'psql -h ${host} -U cloud_admin -c "SELECT 1"'`,
        `SELECT pg_read_binary_file('${path}')`,
        `SELECT pg_ls_dir('${host}')`,
      ]) {
        expect((await tryPsql(uri, sql)).stderr, sql).toMatch(/ERROR:\s+42501:/);
      }
    }
  });

  it('and files are closed to other OS users', async ({ skip }) => {
    skip(!IS_ROOT, 'OS users need root');
    await Promise.all([psql(mine.uri, 'SELECT 1'), psql(other.uri, 'SELECT 1')]);
    const [a, b] = [awake(mine), awake(other)];
    expect(a.uid).not.toBe(0);
    expect(a.uid).not.toBe(b.uid);
    expect(platform.processes().filter((p) => p.uid === 0 && (p.argv[0] ?? '').includes('postgres'))).toEqual([]);
    const cgroup = (pid: number): string => readFileSync(`/proc/${pid}/cgroup`, 'utf8');
    expect(cgroup(a.pid)).not.toBe(cgroup(b.pid));
    expect(cgroup(a.pid)).not.toBe(cgroup(process.pid));

    for (const { dataPath, uid } of [a, b]) {
      expect(statSync(dataPath).mode & 0o777).toBe(0o700);
      expect(statSync(dataPath).uid).toBe(uid);
      const groups = readFileSync(`/proc/${a.pid}/status`, 'utf8');
      expect(/^Groups:[ \t]*(.*)$/m.exec(groups)?.[1]?.trim()).toMatch(/^(\d+)?$/);
    }
    const closed = [
      b.dataPath,
      join(b.dataPath, 'PG_VERSION'),
      join(platform.dataDir, 'secrets'),
      join(platform.dataDir, 'metadata'),
      join(platform.dataDir, 'gateway'),
      join(platform.dataDir, 'logs'),
      platform.stderrPath,
    ];
    for (const path of closed) {
      const { code, stdout } = await run('ls', ['-l', path], { uid: a.uid });
      const content =
        existsSync(path) && statSync(path).isFile() ? await run('cat', [path], { uid: a.uid }) : { code, stdout };
      expect(content.code === 0 && content.stdout !== '', `${path} can be read by another tenant: ${stdout}`).toBe(
        false,
      );
    }
    for (const path of postgresSockets()) {
      const owner = [a, b].find((p) => p.uid === statSync(path).uid);
      const stranger = owner?.pid === a.pid ? b.uid : a.uid;
      const { code, stderr } = await run('perl', ['-e', CONNECT, path], { uid: stranger });
      expect(`${code} ${stderr}`, path).toMatch(/^7 (Permission denied|No such file)/);
    }
    // The sockets of Tenantry's own processes too: who reaches them can wake or stop any compute.
    for (const path of unixSockets().filter((p) => !p.includes('.s.PGSQL.'))) {
      expect((await run('perl', ['-e', CONNECT, path], { uid: a.uid })).code, path).toBe(7);
    }
  });

  it('and no secret shows in the process list, in logs or in the metadata', async () => {
    const secrets = [mine.password, other.password, platform.ready.admin_key, 'SCRAM-SHA-256$4096'];
    for (const name of ['compute-admin-password', 'metadata-password', 'password-box-key', 'mock-auth-key']) {
      const path = join(platform.dataDir, 'secrets', name);
      if (existsSync(path)) secrets.push(readFileSync(path, 'utf8').trim());
    }
    expect(secrets.length).toBeGreaterThanOrEqual(6);
    for (const p of platform.processes()) {
      const environment = readFileSync(`/proc/${p.pid}/environ`, 'latin1');
      for (const secret of secrets) {
        expect(p.argv.join(' ').includes(secret), `a secret in the arguments of ${p.argv[0]}`).toBe(false);
        if (p.uid !== process.getuid?.())
          expect(environment.includes(secret), `in the environment of ${p.argv[0]}`).toBe(false);
      }
    }
    const patterns = secrets.flatMap((secret) => ['-e', secret]);
    const inLogs = await run('grep', ['-rlF', ...patterns, platform.stderrPath, join(platform.dataDir, 'logs')]);
    expect(inLogs.stdout).toBe('');
    const postgresLogs = await run('find', [platform.dataDir, '-name', '*.log', '-type', 'f']);
    for (const path of postgresLogs.stdout.split('\n').filter((p) => p !== '')) {
      expect((await run('grep', ['-lF', ...patterns, path])).stdout).toBe('');
    }
    const clear = await run('grep', [
      '-rlF',
      '-e',
      mine.password,
      '-e',
      platform.ready.admin_key,
      join(platform.dataDir, 'metadata'),
    ]);
    expect(clear.stdout).toBe('');
    const { stdout: modes } = await run('find', [
      join(platform.dataDir, 'secrets'),
      '-type',
      'f',
      '-perm',
      '/077',
      '!',
      '-name',
      'ca.pem',
    ]);
    expect(modes).toBe('');
  });
});

const awake = (project: TestProject): ComputeProcess => must(platform.compute(project.branchId), 'an awake compute');

/** Every listening unix socket of this installation. */
function unixSockets(): string[] {
  const lines = readFileSync('/proc/net/unix', 'utf8').split('\n');
  const paths = lines.filter((l) => / 00010000 /.test(l)).map((l) => l.split(/\s+/)[7] ?? '');
  return [...new Set(paths)].filter((p) => p.startsWith(platform.runDir) || p.startsWith(platform.dataDir));
}

const postgresSockets = (): string[] => unixSockets().filter((path) => path.includes('/.s.PGSQL.'));

function foreignTable({ user, password, ...server }: Record<string, string>): string {
  const options = (all: Record<string, string | undefined>): string =>
    Object.entries(all)
      .map(([name, value]) => `${name} '${value ?? ''}'`)
      .join(', ');
  return `BEGIN;
    CREATE SERVER target FOREIGN DATA WRAPPER postgres_fdw OPTIONS (${options(server)});
    CREATE USER MAPPING FOR CURRENT_USER SERVER target OPTIONS (${options({ user, password })});
    CREATE FOREIGN TABLE there (what text) SERVER target OPTIONS (schema_name 'public', table_name 'treasure');
    SELECT * FROM there; COMMIT`;
}

/**
 * Functions and operators that stand in for those of Postgres wherever a query of the platform runs with a search path
 * that a tenant can set. Each notes who ran it and, run by a superuser, makes the tenant one.
 */
function trap(owner: string): string {
  const body = `BEGIN INSERT INTO evil.caught SELECT current_user WHERE current_user <> '${owner}';
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE ${owner} SUPERUSER'; END IF;`;
  const fn = (signature: string, returns: string, result: string): string =>
    `CREATE FUNCTION evil.${signature} RETURNS ${returns} LANGUAGE plpgsql SET search_path = pg_catalog AS $f$ ${body} RETURN ${result}; END $f$;`;
  return `
    CREATE SCHEMA evil; CREATE TABLE evil.caught (who name); GRANT ALL ON SCHEMA evil TO PUBLIC; GRANT ALL ON evil.caught TO PUBLIC;
    ${fn('pg_database_size(oid)', 'bigint', '0')}
    ${fn('pg_database_size(name)', 'bigint', '0')}
    ${fn('pg_get_userbyid(oid)', 'name', `'x'`)}
    ${fn('now()', 'timestamptz', 'now()')}
    ${fn('clock_timestamp()', 'timestamptz', 'clock_timestamp()')}
    ${fn('pg_backend_pid()', 'int', '1')}
    ${fn('current_setting(text)', 'text', `'x'`)}
    ${fn('set_config(text, text, boolean)', 'text', `'x'`)}
    ${fn('quote_ident(text)', 'text', '$1')}
    ${fn('quote_literal(text)', 'text', '$1')}
    ${fn('format(text, text)', 'text', '$1')}
    ${fn('same(name, text)', 'boolean', '$1::text = $2')}
    ${fn('same(name, name)', 'boolean', '$1 = $2')}
    ${fn('same(oid, oid)', 'boolean', '$1 = $2')}
    CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = text, FUNCTION = evil.same);
    CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.same);
    CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.same);
    CREATE VIEW evil.pg_roles AS SELECT r.*, evil.now() FROM pg_catalog.pg_roles r;
    CREATE VIEW evil.pg_database AS SELECT d.*, evil.now() FROM pg_catalog.pg_database d;
    CREATE VIEW evil.pg_stat_activity AS SELECT a.*, evil.now() AS n FROM pg_catalog.pg_stat_activity a;
    CREATE VIEW evil.pg_stat_database AS SELECT a.*, evil.now() AS n FROM pg_catalog.pg_stat_database a;
    ALTER DATABASE neondb SET search_path = evil, pg_catalog;
    ALTER DATABASE mine SET search_path = evil, pg_catalog;`;
}
