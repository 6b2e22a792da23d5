import type { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { must } from '../kernel/assert.ts';
import { makeVerifier } from '../kernel/scram-verifier.ts';
import type { CatalogChange, EndpointSpec } from './host.ts';
import type { LocalHost } from './local-host.ts';
import {
  addEndpoint,
  connectAdmin,
  connectTenant,
  makeHost,
  makeTestBed,
  reportOf,
  waitFor,
  type TestBed,
} from './testing/test-host.ts';

/**
 * What a tenant can plant in its own compute must neither run in the platform's sessions, which have a superuser's
 * rights there, nor blind or block them.
 */
let bed: TestBed;
let host: LocalHost;

beforeAll(async () => {
  bed = makeTestBed();
  host = await makeHost(bed);
});

afterAll(async () => {
  await host.stopAll();
  bed.dispose();
});

/** Everything that the platform does in a compute: each kind of change, the catalog, the sizes, activity, suspend. */
async function expectPlatformWorks(spec: EndpointSpec, client: Client): Promise<void> {
  await client.query('CREATE ROLE leaver LOGIN; CREATE TABLE for_leaver (n int); GRANT ALL ON for_leaver TO leaver');
  const verifier = makeVerifier('x');
  const changes: CatalogChange[] = [
    { seq: 1, kind: 'put_role', name: 'app', verifier },
    { seq: 2, kind: 'create_database', name: 'shop', owner: 'app' },
    { seq: 3, kind: 'update_database', name: 'shop', newName: 'store', owner: 'neondb_owner' },
    { seq: 4, kind: 'rename_role', name: 'app', newName: 'web' },
    // Goes into each database.
    { seq: 5, kind: 'drop_role', name: 'leaver' },
    { seq: 6, kind: 'drop_database', name: 'store' },
  ];
  await host.applySpec({ ...spec, generation: 9, catalogChanges: changes });
  await host.applyCatalog(spec.endpointId, 6);
  const { catalog, catalogAppliedSeq } = await reportOf(host, spec);
  expect(catalogAppliedSeq).toBe(6);
  expect(catalog?.roles.map(({ name }) => name)).toEqual(expect.arrayContaining(['neondb_owner', 'web']));
  expect(await host.findRoleVerifier(spec.endpointId, 'web')).toMatch(/^SCRAM/);
  const before = await reportOf(host, spec);
  await client.query('CREATE ROLE by_sql LOGIN');
  await waitFor('the role that SQL made', 5000, async () => {
    const { version, catalog: seen } = await reportOf(host, spec);
    return version > before.version && seen?.roles.some(({ name }) => name === 'by_sql');
  });
  expect((await reportOf(host, spec)).logicalBytes).toBeGreaterThan(1e6);
}

/** Overloads of all that the platform's statements call, as close to their argument types as can be. */
const TRAP_FUNCTIONS = [
  'concat(text, text, text)',
  'concat(bigint, text, numeric)',
  'concat(double precision, text, numeric)',
  'floor(numeric)',
  'pg_get_userbyid(oid)',
  'pg_database_size(oid)',
  'pg_stat_get_activity(integer)',
  'pg_stat_get_db_sessions(oid)',
  'pg_stat_get_db_active_time(oid)',
  'pg_terminate_backend(integer)',
  'pg_backend_pid()',
];

const TRAP_OPERATORS = ['=', '<>', '*', '~~'].map((name) => {
  const type = name === '*' ? 'numeric' : 'text';
  return { name, type };
});

async function plantTraps(client: Client): Promise<void> {
  await client.query('CREATE TABLE public.sprung (by text, at text)');
  await client.query('CREATE SCHEMA evil');
  for (const schema of ['public', 'evil']) {
    for (const signature of TRAP_FUNCTIONS) {
      await client.query(`CREATE FUNCTION ${schema}.${signature} RETURNS text LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO public.sprung VALUES (session_user, '${signature}'); RETURN '1'; END $$`);
    }
    for (const { name, type } of TRAP_OPERATORS) {
      await client.query(`CREATE FUNCTION ${schema}.trap_${type}_${name.length}${name.codePointAt(0)}(${type}, ${type})
        RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.sprung VALUES (session_user, '${name}'); RETURN true; END $$;
        CREATE OPERATOR ${schema}.${name} (LEFTARG = ${type}, RIGHTARG = ${type},
          FUNCTION = ${schema}.trap_${type}_${name.length}${name.codePointAt(0)})`);
    }
    for (const relation of ['pg_authid', 'pg_database', 'pg_stat_activity', 'pg_roles']) {
      await client.query(
        `CREATE VIEW ${schema}.${relation} AS SELECT ${schema}.pg_backend_pid() AS oid, 'x' AS rolname`,
      );
    }
  }
}

test('traps in the schemas of a tenant do not spring for the platform', async () => {
  const searchPath = 'evil, public, pg_catalog';
  const spec = await addEndpoint(host, 'traps', { pgSettings: { search_path: searchPath } });
  const client = await connectTenant(host, spec);
  await client.query(`ALTER DATABASE neondb SET search_path = ${searchPath}`);
  await letCreateWhereThePlatformIs(spec);
  const beside = await connectTenant(host, spec, 'postgres');
  for (const planting of [client, beside]) await plantTraps(planting);
  await expectPlatformWorks(spec, client);
  for (const database of ['postgres', 'neondb']) {
    const own = await connectTenant(host, spec, database);
    expect((await own.query('SELECT DISTINCT by FROM public.sprung')).rows).toEqual([]);
    // They are loaded: the tenant's own session springs one.
    await own.query('SELECT pg_backend_pid()');
    expect((await own.query('SELECT DISTINCT by FROM public.sprung')).rows).toEqual([{ by: 'neondb_owner' }]);
    await own.end();
  }
  await Promise.all([client.end(), beside.end()]);
});

/** As if the rights there failed, which no tenant has. */
async function letCreateWhereThePlatformIs(spec: EndpointSpec): Promise<void> {
  const admin = await connectAdmin(bed, host, spec);
  await admin.query('GRANT CREATE ON DATABASE postgres TO neondb_owner; GRANT CREATE ON SCHEMA public TO neondb_owner');
  await admin.end();
}

const OF_DATABASE = [
  `role = 'neondb_owner'`,
  `session_authorization = 'neondb_owner'`,
  `local_preload_libraries = 'no_such_library'`,
  'default_transaction_read_only = on',
  `default_transaction_isolation = 'serializable'`,
  'standard_conforming_strings = off',
  `statement_timeout = '1ms'`,
  `lock_timeout = '1ms'`,
  `transaction_timeout = '1ms'`,
  `idle_session_timeout = '1ms'`,
];

test('settings of a database of a tenant do not hold for the platform', async () => {
  const spec = await addEndpoint(host, 'settings-of-database');
  const client = await connectTenant(host, spec);
  for (const setting of OF_DATABASE) await client.query(`ALTER DATABASE neondb SET ${setting}`);
  await expectPlatformWorks(spec, client);
  await client.end();
});

test('settings of the endpoint do not hold for the platform', async () => {
  const pgSettings = {
    default_transaction_read_only: 'on',
    default_transaction_isolation: 'serializable',
    default_transaction_deferrable: 'on',
    standard_conforming_strings: 'off',
    search_path: 'evil, public, pg_catalog',
    statement_timeout: '1ms',
    lock_timeout: '1ms',
    // Less would end logins of everybody: their own transaction begins before the session's settings hold.
    transaction_timeout: '1s',
    idle_session_timeout: '1ms',
    synchronous_commit: 'off',
  };
  const spec = await addEndpoint(host, 'settings-of-endpoint', { pgSettings });
  const options = ['default_transaction_read_only=off', 'transaction_timeout=0', 'statement_timeout=0'];
  const client = await connectTenant(host, spec, 'neondb', [...options, 'idle_session_timeout=0', 'lock_timeout=0']);
  await expectPlatformWorks(spec, client);
  await client.end();
  await host.applySpec({ ...spec, generation: 10, suspendTimeoutSeconds: 1 });
  await waitFor('suspended', 8000, async () => (await reportOf(host, spec)).state === 'idle');
});

const FORBIDDEN = [
  'CREATE SCHEMA evil',
  'CREATE TABLE public.pg_authid (x int)',
  'CREATE FUNCTION public.concat(text) RETURNS text LANGUAGE sql AS $$ SELECT 1 $$',
  'ALTER DATABASE postgres CONNECTION LIMIT 0',
  'ALTER DATABASE postgres ALLOW_CONNECTIONS false',
  'ALTER DATABASE postgres OWNER TO neondb_owner',
  `ALTER DATABASE postgres SET role = 'neondb_owner'`,
  `ALTER ROLE cloud_admin IN DATABASE postgres SET role = 'neondb_owner'`,
  'ALTER ROLE cloud_admin NOLOGIN',
  'ALTER ROLE cloud_admin CONNECTION LIMIT 0',
  `ALTER ROLE ALL SET role = 'neondb_owner'`,
  'DO $$ BEGIN LOCK TABLE pg_catalog.pg_authid IN ACCESS EXCLUSIVE MODE; END $$',
  'DO $$ BEGIN LOCK TABLE pg_catalog.pg_database IN SHARE MODE; END $$',
  'SELECT 1 FROM pg_catalog.pg_database FOR UPDATE',
  `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'cloud_admin'`,
  `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'cloud_admin'`,
  'CREATE EVENT TRIGGER e ON login EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()',
];

test('a tenant cannot shut the platform out of the database where its sessions are', async () => {
  const spec = await addEndpoint(host, 'shut-out');
  for (const database of ['postgres', 'template1']) {
    const client = await connectTenant(host, spec, database);
    await waitFor('a session of the platform', 5000, async () => {
      const { rows } = await client.query(`SELECT 1 FROM pg_stat_activity WHERE usename = 'cloud_admin'`);
      return rows.length > 0;
    });
    for (const sql of FORBIDDEN) {
      await expect(client.query(sql), sql).rejects.toMatchObject({ code: '42501' });
    }
    // Takes nothing, and says so in a warning.
    await client.query('REVOKE ALL ON DATABASE postgres FROM PUBLIC');
    await client.end();
  }
  const clients = await takeAllConnections(spec);
  await expectPlatformWorks(spec, must(clients[0]));
  await Promise.all(clients.map((client) => client.end()));
});

async function takeAllConnections(spec: EndpointSpec): Promise<Client[]> {
  const clients: Client[] = [];
  for (;;) {
    try {
      clients.push(await connectTenant(host, spec));
    } catch (error) {
      expect(error).toMatchObject({ code: '53300' });
      return clients;
    }
  }
}
