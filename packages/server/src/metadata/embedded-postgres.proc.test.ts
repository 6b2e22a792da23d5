import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { Secret } from '../kernel/secret.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.ts';
import { openMetadata } from './open-metadata.ts';
import { isPostmaster } from './postmaster.ts';
import { testInstallation } from './testing/test-installation.ts';

const CHILD = fileURLToPath(new URL('./testing/embedded-child.ts', import.meta.url));

async function query(postgres: EmbeddedPostgres, text: string): Promise<unknown> {
  const client = new Client(postgres.connection);
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(text);
    return rows[0]?.['value'];
  } finally {
    await client.end();
  }
}

test('it is made once, kept over a stop, and left running by detach for the next to adopt', async () => {
  await using installation = await testInstallation();
  const first = await installation.start();
  await query(first, 'create table kept as select 42 as value');
  await first.stop();
  expect(first.pid && isPostmaster(first.pid, installation.options.dataDir)).toBe(false);
  expect(await readdir(dirname(installation.options.dataDir))).toEqual(['metadata', 'run']);

  const second = await installation.start();
  expect(await query(second, 'select value from kept')).toBe(42);
  await second.detach();
  const third = await installation.start();
  expect(third.pid).toBe(second.pid);
  expect(await query(third, 'select value from kept')).toBe(42);
});

test('one that has lost its socket, as when its run directory was removed, is started anew', async () => {
  await using installation = await testInstallation();
  const { dataDir, runDir } = installation.options;
  const first = await installation.start();
  await first.detach();
  await rm(join(runDir, 'metadata'), { recursive: true });
  const second = await installation.start();
  expect(second.pid).not.toBe(first.pid);
  expect(first.pid && isPostmaster(first.pid, dataDir)).toBe(false);
  expect(await query(second, 'select 1 as value')).toBe(1);
}, 30_000);

test('a kill -9 of the process that started it does not reach it; the next start adopts it with its sessions', async () => {
  await using installation = await testInstallation();
  const { dataDir, runDir, engine, runAs, password } = installation.options;
  const argument = JSON.stringify({ dataDir, runDir, engine, runAs, password: password.reveal() });
  const child = spawn(process.execPath, [CHILD, argument], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const client = new Client({
    host: join(runDir, 'metadata'),
    user: 'tenantry',
    database: 'postgres',
    password: password.reveal(),
  });
  await client.connect();
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  const postgres = await installation.start();
  expect(postgres.pid).toBe(Number(line.toString()));
  expect((await client.query<{ n: number }>('select 1 as n')).rows).toEqual([{ n: 1 }]);
  await client.end();
});

test('a crash in the middle of initdb leaves nothing that is taken for a database', async () => {
  await using installation = await testInstallation();
  const { dataDir } = installation.options;
  await mkdir(join(`${dataDir}.new`, 'data'), { recursive: true });
  await writeFile(join(`${dataDir}.new`, 'data', 'PG_VERSION'), '17\n');
  const postgres = await installation.start();
  expect(await query(postgres, 'select 1 as value')).toBe(1);
  expect(await readdir(dirname(dataDir))).toEqual(['metadata', 'run']);
});

test('only the right password over a private socket comes in, and it speaks to no network', async () => {
  await using installation = await testInstallation();
  const postgres = await installation.start();
  const wrong = new Client({ ...postgres.connection, password: 'wrong' });
  await expect(wrong.connect()).rejects.toMatchObject({ code: '28P01' });
  expect((await stat(join(installation.options.runDir, 'metadata'))).mode & 0o777).toBe(0o700);
  expect(await query(postgres, 'show listen_addresses as value').catch(() => '')).toBe('');
  expect(await query(postgres, `select current_setting('listen_addresses') as value`)).toBe('');
  expect(await query(postgres, `select lower('ÄÖ') as value`)).toBe('äö');
});

test('it is started again when it dies, also from a kill -9, and a pool recovers', async () => {
  await using installation = await testInstallation();
  const postgres = await installation.start();
  const metadata = await openMetadata({ connection: postgres.connection, log: pino({ level: 'silent' }) });
  const { pid } = postgres;
  if (pid === undefined) throw new Error('no pid');
  process.kill(pid, 'SIGKILL');
  await expect
    .poll(() => postgres.pid !== undefined && postgres.pid !== pid, { timeout: 20_000, interval: 20 })
    .toBe(true);
  const count = async (): Promise<unknown> =>
    metadata.db.selectFrom('operations').select(metadata.db.fn.countAll().as('n')).executeTakeFirst();
  // The pool's idle connections died with it; the next statement makes new ones.
  expect(await count()).toEqual({ n: '0' });
  await metadata.close();
});

test('a connection that is refused or ended is METADATA_UNAVAILABLE', async () => {
  await using installation = await testInstallation();
  const postgres = await installation.start();
  const metadata = await openMetadata({ connection: postgres.connection, log: pino({ level: 'silent' }) });
  const statement = metadata.db.selectNoFrom((eb) => eb.fn('pg_sleep', [eb.val(30)]).as('x')).execute();
  const rejected = expect(statement).rejects.toMatchObject({ code: 'METADATA_UNAVAILABLE' });
  await expect
    .poll(() => query(postgres, `select count(*)::int as value from pg_stat_activity where query like '%pg_sleep%'`))
    .toBeGreaterThan(1);
  await postgres.stop();
  await rejected;
  await expect(metadata.db.selectFrom('operations').select('id').execute()).rejects.toMatchObject({
    code: 'METADATA_UNAVAILABLE',
  });
  await metadata.close();
});

test('a stale postmaster.pid that names a foreign process is not touched and not in the way', async () => {
  await using installation = await testInstallation();
  const first = await installation.start();
  await first.stop();
  // Of the user that Postgres runs as, whom its own check would take for a postmaster.
  const foreign = spawn('sleep', ['600'], { ...installation.options.runAs });
  const { dataDir } = installation.options;
  await writeFile(join(dataDir, 'postmaster.pid'), `${foreign.pid}\n${dataDir}\n1700000000\n5432\n`);
  const second = await installation.start();
  expect(second.pid).not.toBe(foreign.pid);
  await second.stop();
  expect(foreign.exitCode).toBeNull();
  foreign.kill();
});

test('a wrong password, or a directory that cannot be used, is said at once', async () => {
  await using installation = await testInstallation();
  const postgres = await installation.start();
  const other = { ...installation.options, password: new Secret('other') };
  await expect(startEmbeddedPostgres(other)).rejects.toMatchObject({
    code: 'METADATA_UNAVAILABLE',
    message: expect.stringContaining('password authentication failed') as unknown,
  });
  await postgres.stop();
  await writeFile(join(installation.options.dataDir, 'PG_VERSION'), '12\n');
  await expect(installation.start()).rejects.toMatchObject({
    message: expect.stringMatching(/incompatible|is not compatible/) as unknown,
  });
});

test('idle, it needs little memory and few processes', async () => {
  await using installation = await testInstallation();
  const postgres = await installation.start();
  const metadata = await openMetadata({ connection: postgres.connection, log: pino({ level: 'silent' }) });
  if (process.platform !== 'linux') return;
  const pids = (await readFile(`/proc/${postgres.pid}/task/${postgres.pid}/children`, 'utf8')).trim().split(' ');
  let bytes = 0;
  for (const pid of [String(postgres.pid), ...pids]) {
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
    bytes += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1]) * 1024;
  }
  expect(pids.length).toBeLessThan(8);
  expect(bytes).toBeLessThan(80_000_000);
  await metadata.close();
});
