import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrate } from './migrate.ts';
import { openMetadata } from './open-metadata.ts';
import { testDatabase, type TestDatabase } from './testing/test-database.ts';

const log = pino({ level: 'silent' });
const migrations = fileURLToPath(new URL('./migrations/', import.meta.url));
let metadata: TestDatabase;
let directory: string;

beforeAll(async () => {
  metadata = await testDatabase();
  directory = await mkdtemp(join(tmpdir(), 'tenantry-migrations-'));
  await cp(migrations, directory, { recursive: true });
});

afterAll(async () => {
  await metadata[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

const applied = async (): Promise<readonly string[]> => {
  const { rows } = await metadata.pool.query<{ name: string }>('select name from schema_migrations order by name');
  return rows.map((r) => r.name);
};

test('two processes that start at once apply each migration once', async () => {
  await metadata.pool.query('drop schema public cascade; create schema public');
  await Promise.all(Array.from({ length: 8 }, () => migrate(metadata.pool, log)));
  expect(await applied()).toContain('0001_operations');
});

test('a migration that fails leaves nothing and is tried again', async () => {
  const before = await applied();
  const name = `${String(before.length + 1).padStart(4, '0')}_new`;
  await writeFile(join(directory, `${name}.sql`), 'create table half (id int); select 1/0;');
  await expect(migrate(metadata.pool, log, directory)).rejects.toThrow('division by zero');
  expect(await applied()).toEqual(before);
  await writeFile(join(directory, `${name}.sql`), '-- breaking\ncreate table half (id int);');
  await migrate(metadata.pool, log, directory);
  expect(await applied()).toEqual([...before, name]);
});

test('code that lacks a newer breaking migration is refused, and told which', async () => {
  const { connection } = metadata;
  await expect(openMetadata({ connection, log })).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringMatching(/a newer Tenantry has applied \d+_new/) as unknown,
  });
});

test('a migration changed after it was applied is an error that names it', async () => {
  await writeFile(join(directory, '0001_operations.sql'), 'select 1');
  await expect(migrate(metadata.pool, log, directory)).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining('0001_operations was changed') as unknown,
  });
});
