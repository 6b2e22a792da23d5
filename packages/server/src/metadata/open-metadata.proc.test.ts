import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { testDatabase } from './testing/test-database.ts';

test('a connection that dies between two statements of a transaction fails the next one, not the process', async () => {
  await using metadata = await testDatabase();
  const transaction = metadata.db.transaction().execute(async (tx) => {
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx);
    await metadata.pool.query('select pg_terminate_backend($1, 10000)', [rows[0]?.pid]);
    await sql`select 1`.execute(tx);
  });
  await expect(transaction).rejects.toMatchObject({ code: 'METADATA_UNAVAILABLE' });
  expect(await metadata.db.selectFrom('operations').select('id').execute()).toEqual([]);
});

test('times are Dates, eight-byte integers and numerics exact strings, dates text, json its value', async () => {
  await using metadata = await testDatabase();
  const { rows } = await sql`
    select '2026-01-02 03:04:05.678+00'::timestamptz as at, 9007199254740993 as int8, 1.10::numeric as numeric,
      '2026-01-02'::date as date, '{"a":[1]}'::jsonb as json, '{a,b}'::text[] as array
  `.execute(metadata.db);
  expect(rows).toEqual([
    {
      at: new Date('2026-01-02T03:04:05.678Z'),
      int8: '9007199254740993',
      numeric: '1.10',
      date: '2026-01-02',
      json: { a: [1] },
      array: ['a', 'b'],
    },
  ]);
});

test('connections carry their name and their timeouts', async () => {
  await using metadata = await testDatabase();
  const { rows } = await sql`
    select current_setting('application_name') as name, current_setting('statement_timeout') as statement,
      current_setting('idle_in_transaction_session_timeout') as idle
  `.execute(metadata.db);
  expect(rows).toEqual([{ name: 'tenantry', statement: '10s', idle: '30s' }]);
});
