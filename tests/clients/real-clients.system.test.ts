import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PrismaPg } from '@prisma/adapter-pg';
import { Client, Pool } from 'pg';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestProject } from '../support/api.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { runOk } from '../support/run.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { skipWithout } from '../support/tools.ts';
import { cancelRequest, exchange } from '../support/wire.ts';
import { getPrismaClientClass } from './prisma/client.gen.ts';

/** Each client is given the returned URI as it is (JDBC: as a URL of its own kind) and finds the endpoint asleep. */

const PROGRAMS = join(import.meta.dirname, 'programs');
const JDBC_JAR = '/usr/share/java/postgresql.jar';
const LARGE = `SELECT i, repeat('x', 100) AS text FROM generate_series(1, 100000) i`;

let platform: RunningPlatform;
let project: TestProject;

beforeAll(async () => {
  platform = await startPlatform({ gatewayWorkers: 2 });
  project = await platform.api.createProject({ name: 'clients' });
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

const asleep = async (): Promise<string> => {
  await platform.api.suspend(project);
  return project.uri;
};

describe('real clients', () => {
  it('psql', async (context) => {
    skipWithout('psql', context);
    const uri = await asleep();
    expect(await psql(uri, 'SELECT 40 + 2')).toBe('42');
    expect(await psql(uri, 'PREPARE p(int) AS SELECT $1 * 2; EXECUTE p(1); EXECUTE p(2);')).toBe('2\n4');
    expect(await psql(uri, 'CREATE TABLE psql_t (id int); BEGIN; INSERT INTO psql_t VALUES (1); ROLLBACK')).toBe('');
    expect(await psql(uri, "\\copy psql_t FROM PROGRAM 'seq 1000'\nSELECT count(*) FROM psql_t")).toBe('1000');
    expect((await tryPsql(uri, 'SELECT 1/0')).stderr).toContain('22012');
    expect((await psql(uri, LARGE)).split('\n')).toHaveLength(100_000);
  });

  it('node-postgres', async () => {
    const client = new Client({ connectionString: await asleep() });
    await client.connect();
    expect((await client.query('SELECT 40 + 2 AS n')).rows).toEqual([{ n: 42 }]);
    for (const n of [1, 2, 3]) {
      const { rows } = await client.query({ name: 'double', text: 'SELECT $1::int * 2 AS n', values: [n] });
      expect(rows).toEqual([{ n: n * 2 }]);
    }
    await client.query('CREATE TABLE pg_t (id int PRIMARY KEY)');
    await client.query('BEGIN; INSERT INTO pg_t VALUES (1)');
    await client.query('ROLLBACK');
    await client.query('BEGIN');
    await client.query('INSERT INTO pg_t VALUES (2)');
    await client.query('COMMIT');
    expect((await client.query('SELECT id FROM pg_t')).rows).toEqual([{ id: 2 }]);
    await expect(client.query('SELECT 1/0')).rejects.toMatchObject({ code: '22012' });
    expect((await client.query(LARGE)).rowCount).toBe(100_000);
    await client.end();

    const pool = new Pool({ connectionString: project.uri, max: 8 });
    // end() does not wait for the sockets, so the next test's suspend may still end a session.
    pool.on('error', () => {});
    const sums = await Promise.all(Array.from({ length: 64 }, (_, i) => pool.query('SELECT $1::int + 1 AS n', [i])));
    expect(sums.map((s) => (s.rows[0] as { n: number }).n)).toEqual(Array.from({ length: 64 }, (_, i) => i + 1));
    await pool.end();
  });

  it('node-postgres notices, notifications and cancel', async () => {
    const uri = await asleep();
    const listener = new Client({ connectionString: uri });
    const sender = new Client({ connectionString: uri });
    await Promise.all([listener.connect(), sender.connect()]);
    const heard = Promise.withResolvers<string | undefined>();
    listener.on('notification', (n) => heard.resolve(n.payload));
    await listener.query('LISTEN news');
    await sender.query(`NOTIFY news, 'hello'`);
    expect(await heard.promise).toBe('hello');

    const sleeping = listener.query('SELECT pg_sleep(60)');
    const refused = expect(sleeping).rejects.toMatchObject({ code: '57014' });
    const { processID, secretKey } = listener as unknown as { processID: number; secretKey: number };
    const cancelled = await exchange(platform.pgPort, cancelRequest(processID, secretKey));
    expect(cancelled).toMatchObject({ closed: true, received: Buffer.alloc(0) });
    await refused;
    await Promise.all([listener.end(), sender.end()]);
  });

  it('postgres.js', async () => {
    const sql = postgres(await asleep(), { max: 4, onnotice: () => {} });
    expect(await sql`SELECT 40 + 2 AS n`.simple()).toEqual([{ n: 42 }]);
    for (const n of [1, 2, 3]) expect(await sql`SELECT ${n}::int * 2 AS n`).toEqual([{ n: n * 2 }]);
    await sql`CREATE TABLE postgresjs_t (id int PRIMARY KEY)`;
    const rolledBack = sql.begin(async (tx) => {
      await tx`INSERT INTO postgresjs_t VALUES (1)`;
      throw new Error('roll back');
    });
    await expect(rolledBack).rejects.toThrow('roll back');
    await sql.begin((tx) => tx`INSERT INTO postgresjs_t VALUES (2)`);
    expect(await sql`SELECT id FROM postgresjs_t`).toEqual([{ id: 2 }]);
    await expect(sql`SELECT 1/0`.execute()).rejects.toMatchObject({ code: '22012' });
    let rows = 0;
    await sql.unsafe(LARGE).cursor(1000, (chunk) => {
      rows += chunk.length;
    });
    expect(rows).toBe(100_000);
    await sql.end();
  });

  it('Prisma through its pg adapter', async () => {
    const uri = await asleep();
    await psql(
      uri,
      `CREATE TABLE "Tenant" (id serial PRIMARY KEY, name text UNIQUE NOT NULL);
       CREATE TABLE "Note" (id serial PRIMARY KEY, body text NOT NULL, "tenantId" int NOT NULL REFERENCES "Tenant");`,
    );
    await asleep();
    const prisma = newPrisma(uri);
    const made = await prisma.tenant.create({
      data: { name: 'acme', notes: { create: [{ body: 'one' }, { body: 'two' }] } },
      include: { notes: true },
    });
    expect(made.notes.map((n) => n.body).sort()).toEqual(['one', 'two']);
    await expect(prisma.tenant.create({ data: { name: 'acme' } })).rejects.toMatchObject({ code: 'P2002' });
    const failing = prisma.$transaction([
      prisma.tenant.create({ data: { name: 'beta' } }),
      prisma.tenant.create({ data: { name: 'acme' } }),
    ]);
    await expect(failing).rejects.toMatchObject({ code: 'P2002' });
    expect((await prisma.tenant.findMany()).map((t) => t.name)).toEqual(['acme']);
    expect(await prisma.$queryRawUnsafe(LARGE)).toHaveLength(100_000);
    await prisma.$disconnect();
  });

  it('psycopg 3', async ({ skip }) => {
    skip(!existsSync('/usr/lib/python3/dist-packages/psycopg'), 'Debian package python3-psycopg is not installed');
    expectScenario(await program('/usr/bin/python3', 'psycopg_client.py', await asleep()), [2, 4, 6]);
  });

  it('asyncpg', async ({ skip }) => {
    skip(!existsSync('/usr/lib/python3/dist-packages/asyncpg'), 'Debian package python3-asyncpg is not installed');
    expectScenario(await program('/usr/bin/python3', 'asyncpg_client.py', await asleep()), [2, 4, 6]);
  });

  it('JDBC', async ({ skip }) => {
    skip(!existsSync(JDBC_JAR), 'Debian package libpostgresql-jdbc-java is not installed');
    const uri = new URL(await asleep());
    const url = `jdbc:postgresql://${uri.host}${uri.pathname}${uri.search}&user=${uri.username}&password=${uri.password}`;
    const output = await runOk('java', ['-cp', JDBC_JAR, join(PROGRAMS, 'JdbcClient.java'), url]);
    expectScenario(JSON.parse(output), [2, 4, 6, 8, 10, 12, 14]);
  });
});

async function program(command: string, file: string, uri: string): Promise<unknown> {
  return JSON.parse(await runOk(command, [join(PROGRAMS, file), uri])) as unknown;
}

function expectScenario(result: unknown, prepared: readonly number[]): void {
  expect(result).toMatchObject({ simple: 42, prepared, rows: [2], sqlstate: '22012', large: 100_000, copied: 1000 });
}

interface Tenant {
  readonly name: string;
  readonly notes: readonly { readonly body: string }[];
}

/** The part of the generated client that the test uses. */
interface PrismaClient {
  readonly tenant: { create(args: unknown): Promise<Tenant>; findMany(): Promise<Tenant[]> };
  $transaction(work: readonly Promise<unknown>[]): Promise<unknown>;
  $queryRawUnsafe(sql: string): Promise<unknown[]>;
  $disconnect(): Promise<void>;
}

function newPrisma(uri: string): PrismaClient {
  const Client = getPrismaClientClass() as unknown as new (options: { adapter: PrismaPg }) => PrismaClient;
  return new Client({ adapter: new PrismaPg({ connectionString: uri }) });
}
