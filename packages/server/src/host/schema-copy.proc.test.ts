import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Client } from 'pg';
import { createEngineStore } from '../engines/engine-store.ts';
import type { EngineStore } from '../engines/engine.ts';
import { createLog } from '../kernel/log.ts';
import { dumpSchema } from '../pgdump/dump-schema.ts';
import { findPgDump, type PgDump } from '../pgdump/find-pg-dump.ts';
import { startTestCluster, TEST_OWNER, type TestCluster } from '../pgdump/testing/test-cluster.ts';
import { copySchema, dumpDatabase, type PrivatePostgres } from './schema-copy.ts';
import { RICH_ROLES, RICH_SCHEMA } from './testing/rich-schema.ts';

const nodeModules = fileURLToPath(new URL('../../../../node_modules', import.meta.url));
const WASM: PgDump = { kind: 'wasm', version: 18 };

let base = '';
let engines: EngineStore;
beforeAll(async () => {
  base = await mkdtemp('/tmp/tn-schema-');
  await chmod(base, 0o755);
  engines = createEngineStore({
    enginesDir: base,
    packagesDirs: [nodeModules],
    runAs: TEST_OWNER,
    log: createLog('t', 'error'),
  });
});
afterAll(() => rm(base, { recursive: true, force: true }));

const asPrivate = ({ socketPath, password }: TestCluster, pgVersion: number): PrivatePostgres => ({
  pgVersion,
  directory: { socketDirectory: dirname(socketPath), socketPath },
  owner: TEST_OWNER,
  password,
});

describe.each([17, 15])('a copy of a schema, Postgres %i', (pgVersion) => {
  let source: TestCluster;
  let target: TestCluster;
  let admin: Client;
  let copied: Client;

  beforeAll(async () => {
    const engine = await engines.get(pgVersion);
    [source, target] = await Promise.all([startTestCluster(engine), startTestCluster(engine)]);
    admin = await source.connect('neondb');
    await admin.query('CREATE EXTENSION postgres_fdw');
    for (const statement of RICH_ROLES) await admin.query(statement);
    const owner = await source.connect('neondb', 'neondb_owner');
    for (const statement of RICH_SCHEMA) await owner.query(statement);
    await owner.query('CREATE DATABASE "it\'s; \\ ""odd""=x" CONNECTION LIMIT 7');
    await owner.end();
    await admin.query('ALTER DATABASE "it\'s; \\ ""odd""=x" ALLOW_CONNECTIONS false');
    await copySchema(asPrivate(source, pgVersion), asPrivate(target, pgVersion));
    // It has been opened to be read; of a clone that does not matter.
    await admin.query('ALTER DATABASE "it\'s; \\ ""odd""=x" ALLOW_CONNECTIONS false');
    copied = await target.connect('neondb');
  });
  afterAll(async () => {
    await admin.end();
    await copied?.end();
    await Promise.all([source.stop(), target.stop()]);
  });

  it('dumps as its source does', async () => {
    const [before, after] = [
      await dumpDatabase(asPrivate(source, pgVersion), 'neondb', { withDatabase: true }),
      await dumpDatabase(asPrivate(target, pgVersion), 'neondb', { withDatabase: true }),
    ];
    expect(after).toEqual(before);
    expect(before.length).toBeGreaterThan(100);
  });

  it.each<[string, string]>([
    [
      'roles',
      `SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
       rolconnlimit, rolpassword, rolvaliduntil, shobj_description(oid, 'pg_authid') FROM pg_authid WHERE oid >= 16384 ORDER BY 1`,
    ],
    [
      'memberships',
      `SELECT roleid::regrole::text, member::regrole::text, grantor::regrole::text, admin_option FROM pg_auth_members ORDER BY 1, 2, 3`,
    ],
    [
      'settings',
      `SELECT datname, setrole::regrole::text, setconfig FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase ORDER BY 1, 2`,
    ],
    [
      'databases',
      `SELECT datname, datdba::regrole, encoding, datcollate, datctype, datallowconn, datconnlimit, datistemplate, datacl, shobj_description(oid, 'pg_database') FROM pg_database ORDER BY 1`,
    ],
    [
      'owners of extensions',
      `SELECT extname, extowner::regrole, extnamespace::regnamespace, extversion FROM pg_extension ORDER BY 1`,
    ],
    [
      'functions',
      `SELECT oid::regprocedure::text, prosecdef, proowner::regrole, proacl FROM pg_proc WHERE pronamespace = 'app'::regnamespace ORDER BY 1`,
    ],
  ])('has the same %s', async (_, query) => {
    const { rows } = await admin.query<unknown[]>({ text: query, rowMode: 'array' });
    expect((await copied.query<unknown[]>({ text: query, rowMode: 'array' })).rows).toEqual(rows);
    expect(rows.length).toBeGreaterThan(0);
  });

  it('lets the owner drop an extension of theirs', async () => {
    const owner = await target.connect('neondb', 'neondb_owner');
    try {
      await owner.query('BEGIN; DROP EXTENSION btree_gist CASCADE; ROLLBACK');
    } finally {
      await owner.end();
    }
  });

  it('is read alike by the pg_dump of the system and the one in WebAssembly', async () => {
    const found = await findPgDump(pgVersion);
    if (found.kind === 'wasm') return;
    const dump = async (pgDump: PgDump): Promise<string[]> =>
      await dumpSchema(
        {
          socketPath: source.socketPath,
          role: 'cloud_admin',
          password: source.password,
          database: 'neondb',
          sessionOptions: '',
        },
        { pgVersion, deadlineMs: 60_000, runAs: TEST_OWNER, withDatabase: false, pgDump },
      );
    const [system, wasm] = [await dump(found), await dump(WASM)];
    const tables = (statements: readonly string[]): string[] => statements.filter((s) => s.startsWith('CREATE TABLE'));
    expect(tables(wasm)).toEqual(tables(system));
    expect(wasm).toHaveLength(system.length);
  });
});
