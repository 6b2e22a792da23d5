import { spawn } from 'node:child_process';
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import type { Engine } from '../../engines/engine.ts';
import { runProgram } from '../../engines/run-program.ts';
import { Secret } from '../../kernel/secret.ts';
import { sleep } from '../../kernel/wait.ts';

/** As root, Postgres of these tests runs as nobody: initdb wants a user with a name. */
export const TEST_OWNER = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : null;

/** A Postgres as a compute's is: a socket, SCRAM, superuser cloud_admin, the roles of the template. */
export interface TestCluster {
  readonly directory: string;
  readonly socketPath: string;
  readonly password: Secret;
  connect(database?: string, role?: string): Promise<Client>;
  stop(): Promise<void>;
}

const ROLES = [
  'CREATE ROLE neon_superuser NOLOGIN CREATEDB CREATEROLE BYPASSRLS REPLICATION IN ROLE pg_read_all_data, pg_write_all_data',
  'GRANT pg_monitor, pg_signal_backend TO neon_superuser WITH ADMIN OPTION',
  "CREATE ROLE neondb_owner LOGIN CREATEDB CREATEROLE BYPASSRLS REPLICATION IN ROLE neon_superuser PASSWORD 'secret'",
  'CREATE DATABASE neondb OWNER neondb_owner',
];

export async function startTestCluster(engine: Engine): Promise<TestCluster> {
  const directory = await mkdtemp('/tmp/tn-dump-');
  await chmod(directory, 0o755);
  const password = new Secret('cloud-admin-of-tests');
  const passwordFile = join(directory, 'password');
  await writeFile(passwordFile, password.reveal());
  if (TEST_OWNER) await chown(directory, TEST_OWNER.uid, TEST_OWNER.gid);
  const data = join(directory, 'data');
  const run = { deadlineMs: 60_000, runAs: TEST_OWNER, env: engine.env, cwd: '/' };
  const locale = ['-E', 'UTF8', '--locale=C.UTF-8'];
  const auth = ['-U', 'cloud_admin', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`];
  await runProgram(engine.initdbPath, ['-D', data, ...auth, ...locale, '--no-sync'], run);
  const settings = [
    `unix_socket_directories=${directory}`,
    'listen_addresses=',
    'fsync=off',
    'password_encryption=scram-sha-256',
  ];
  const server = spawn(engine.postgresPath, ['-D', data, ...settings.flatMap((setting) => ['-c', setting])], {
    env: engine.env,
    cwd: '/',
    stdio: process.env['TEST_LOG'] ? 'inherit' : 'ignore',
    ...TEST_OWNER,
  });
  const ended = Promise.withResolvers<void>();
  server.once('exit', () => ended.resolve());
  const connect = async (database = 'postgres', role = 'cloud_admin'): Promise<Client> => {
    const client = new Client({
      host: directory,
      user: role,
      password: role === 'cloud_admin' ? password.reveal() : 'secret',
      database,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  const first = await untilReady(connect);
  for (const statement of ROLES) await first.query(statement);
  await first.end();
  return {
    directory,
    socketPath: join(directory, '.s.PGSQL.5432'),
    password,
    connect,
    async stop() {
      server.kill('SIGINT');
      await ended.promise;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function untilReady(connect: () => Promise<Client>): Promise<Client> {
  const deadlineAt = performance.now() + 30_000;
  for (;;) {
    try {
      return await connect();
    } catch (error) {
      if (performance.now() > deadlineAt) throw error;
      await sleep(50);
    }
  }
}
