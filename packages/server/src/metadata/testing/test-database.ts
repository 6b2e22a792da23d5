import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client, type ClientConfig } from 'pg';
import { pino } from 'pino';
import type { Engine } from '../../engines/engine.ts';
import { sleep } from '../../kernel/wait.ts';
import { openMetadata, type Metadata } from '../open-metadata.ts';
import { TEST_OWNER, testEngine } from './test-engine.ts';

export interface TestDatabase extends Metadata, AsyncDisposable {
  /** For a second `openMetadata`, or a child process (it is plain JSON). */
  readonly connection: ClientConfig;
}

/**
 * A new migrated metadata database on a real Postgres 17, dropped when disposed:
 *
 *     await using metadata = await testDatabase();
 *     await metadata.db.selectFrom('operations')...
 *
 * All databases of a test process share one Postgres, which starts with the first, ends with the last, and also ends
 * when the process is killed.
 */
export async function testDatabase(): Promise<TestDatabase> {
  users += 1;
  server ??= startServer();
  try {
    const { connection } = await server;
    const name = `test_${process.pid}_${(databases += 1)}`;
    await withAdmin(connection, `create database ${name}`);
    const own = { ...connection, database: name };
    const metadata = await openMetadata({ connection: own, log: pino({ level: 'silent' }) });
    return {
      ...metadata,
      connection: own,
      [Symbol.asyncDispose]: async () => {
        await metadata.close();
        await withAdmin(connection, `drop database ${name} with (force)`);
        await releaseServer();
      },
    };
  } catch (error) {
    await releaseServer();
    throw error;
  }
}

interface Server {
  readonly connection: ClientConfig;
  readonly watcher: ChildProcess;
}

let server: Promise<Server> | undefined;
let users = 0;
let databases = 0;

const START_TIMEOUT_MS = 30_000;

/** A time zone that nobody expects, so that code which forgets zones is seen. No fsync: nothing here is kept. */
const SETTINGS = `
fsync = off
listen_addresses = ''
timezone = 'Pacific/Chatham'
shared_buffers = 16MB
max_connections = 50
max_wal_size = 256MB
autovacuum = off
`;

/** Waits for the end of the script's input, which comes however this process ends; then stops Postgres and cleans up. */
const WATCHER = `"$@" & pid=$!; read -r _; kill -INT $pid 2>/dev/null; wait $pid; rm -rf "$TEST_DIR"`;

async function startServer(): Promise<Server> {
  const engine = await testEngine();
  const directory = await mkdtemp(join(tmpdir(), 'tenantry-test-pg-'));
  try {
    return await startServerIn(directory, engine);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

async function startServerIn(directory: string, engine: Engine): Promise<Server> {
  const owner = TEST_OWNER ?? {};
  if (TEST_OWNER) await chown(directory, TEST_OWNER.uid, TEST_OWNER.gid);
  const dataDir = join(directory, 'data');
  const initdb = ['-D', dataDir, '-U', 'tenantry', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'];
  await promisify(execFile)(engine.initdbPath, initdb, { env: engine.env, cwd: directory, ...owner });
  await writeFile(join(dataDir, 'postgresql.auto.conf'), SETTINGS);
  const watcher = spawn('/bin/sh', ['-c', WATCHER, 'sh', engine.postgresPath, '-D', dataDir, '-k', directory], {
    env: { ...engine.env, PATH: '/usr/bin:/bin', TEST_DIR: directory },
    cwd: directory,
    stdio: ['pipe', 'ignore', 'ignore'],
    // Out of reach of a Ctrl-C, which would end Postgres before the tests.
    detached: true,
    ...owner,
  });
  watcher.unref();
  const connection = { host: directory, user: 'tenantry', database: 'postgres' };
  await waitUntilReady(connection);
  return { connection, watcher };
}

async function releaseServer(): Promise<void> {
  users -= 1;
  if (users > 0 || !server) return;
  const ending = server;
  server = undefined;
  const watcher = (await ending.catch(() => undefined))?.watcher;
  // It did not start, which the one who asked for it was told.
  if (!watcher) return;
  const ended = once(watcher, 'exit');
  watcher.stdin?.end();
  await ended;
}

async function waitUntilReady(connection: ClientConfig): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      await withAdmin(connection, 'select 1');
      return;
    } catch (error) {
      if (performance.now() > deadline) throw new Error('Cannot start the test Postgres', { cause: error });
      await sleep(10);
    }
  }
}

async function withAdmin(connection: ClientConfig, statement: string): Promise<void> {
  const client = new Client(connection);
  try {
    await client.connect();
    await client.query(statement);
  } finally {
    await client.end();
  }
}
