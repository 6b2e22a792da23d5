import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connectCompute, type ComputeConnection } from '../compute/connection.ts';
import { createEngineStore } from '../engines/engine-store.ts';
import { createLog } from '../kernel/log.ts';
import { makeVerifier } from '../kernel/scram-verifier.ts';
import { Secret } from '../kernel/secret.ts';
import { createVolumeStore } from '../storage/local-volume-store.ts';
import type { VolumeStore } from '../storage/volume-store.ts';
import type { EndpointSpec } from './host.ts';
import { createLocalHost, type LocalHost, type LocalHostOptions } from './local-host.ts';
import { isRoot, specOf, UID_BASE } from './testing/test-host.ts';

const nodeModules = fileURLToPath(new URL('../../../../node_modules', import.meta.url));
const PASSWORD = new Secret('cloud-admin-of-tests');
/** No compression hides it, and no other file has it. */
const MARK = randomBytes(24).toString('hex');
const log = createLog('test', 'error');

let base = '';
let options: LocalHostOptions;
let volumes: VolumeStore;
let host: LocalHost;
let source: EndpointSpec;

async function openHost(): Promise<void> {
  const engineRunAs = isRoot ? { uid: UID_BASE, gid: UID_BASE } : null;
  const engines = createEngineStore({
    enginesDir: join(base, 'engines'),
    packagesDirs: [nodeModules],
    runAs: engineRunAs,
    log,
  });
  const adminVerifier = new Secret(makeVerifier(PASSWORD.reveal()));
  const hostDir = join(base, 'host');
  volumes = await createVolumeStore({ hostDir, setting: 'copy', isRoot, engineRunAs, adminVerifier, log });
  await volumes.recover();
  options = {
    hostId: 'local',
    hostDir,
    runDir: join(base, 'run'),
    logsDir: join(base, 'logs'),
    isRoot,
    uidBase: UID_BASE,
    computeAdminPassword: PASSWORD,
    volumes,
    engines,
    computesAwakeMax: null,
    log,
  };
  host = await createLocalHost(options);
}

async function connect(spec: EndpointSpec, database = 'neondb'): Promise<ComputeConnection> {
  const address = await host.acquire(spec.endpointId);
  if (address.kind !== 'unix') throw new Error('not a socket');
  return await connectCompute({
    socketDirectory: dirname(address.socketPath),
    password: PASSWORD,
    pgVersion: 17,
    database,
  });
}

const schemaOnly = (volumeId: string) => ({
  volumeId,
  projectId: source.projectId,
  source: source.volumeId,
  at: { kind: 'head' } as const,
  historyRetentionSeconds: 86_400,
});

/** Files below the host's directory that hold the mark, as bytes. */
function filesWithMark(): string[] {
  try {
    return execFileSync('grep', ['-rlaF', MARK, join(base, 'host')], { encoding: 'utf8' })
      .trim()
      .split('\n');
  } catch {
    return [];
  }
}

beforeAll(async () => {
  base = await mkdtemp('/tmp/tn-sv-');
  await chmod(base, 0o755);
  await openHost();
  source = specOf('source');
  await host.createVolume({ ...schemaOnly(source.volumeId), pgVersion: 17 });
  await host.applySpec(source);
  const admin = await connect(source);
  await admin.query("ALTER ROLE neondb_owner RENAME TO boss; CREATE ROLE helper LOGIN PASSWORD 'x' ROLE boss");
  await admin.query('SET ROLE boss; SET search_path = public');
  await admin.query(
    'CREATE TABLE rows (id serial PRIMARY KEY, mark text, wide text); ALTER TABLE rows ALTER wide SET STORAGE EXTERNAL',
  );
  await admin.query('CREATE INDEX ON rows (mark); CREATE MATERIALIZED VIEW seen AS SELECT mark FROM rows');
  for (let i = 0; i < 50; i++) {
    await admin.query(`INSERT INTO rows (mark, wide) VALUES ('${MARK}', repeat('${MARK}', 300))`);
  }
  await admin.query(`SELECT lo_from_bytea(0, '${MARK}'::bytea); REFRESH MATERIALIZED VIEW seen`);
  await admin.query('RESET ROLE; ANALYZE; CHECKPOINT');
  await admin.end();
});
afterEach(async () => {
  // Nothing is left of what a call needs meanwhile.
  expect((await volumes.list()).filter(({ volumeId }) => volumeId.startsWith('tmp-'))).toEqual([]);
  expect(await readdir(join(base, 'host/schema-only'))).toEqual([]);
});
afterAll(async () => {
  await host?.stopAll();
  await rm(base, { recursive: true, force: true });
});

describe('a schema', () => {
  it.each(['running', 'sleeping'])('is read of a %s volume', async (state) => {
    if (state === 'sleeping') await host.suspend(source.endpointId);
    const { volumeId, projectId } = source;
    const text = await host.dumpSchema({ volumeId, projectId, at: { kind: 'head' }, database: 'neondb' });
    expect(text).toContain('CREATE TABLE public.rows (\n    id integer NOT NULL,\n    mark text,\n    wide text\n);\n');
    expect(text).not.toContain(MARK);
    expect(text).not.toMatch(/^(--|SET (?!default_table_access_method)|\\)/m);
    await expect(
      host.dumpSchema({ volumeId, projectId, at: { kind: 'head' }, database: 'none' }),
    ).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('is read as it was', async () => {
    const { volumeId, projectId } = source;
    const admin = await connect(source);
    const lsn = async (): Promise<string> => {
      await admin.query('SELECT pg_switch_wal()');
      const { rows } = await admin.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn() AS lsn');
      return rows[0]?.lsn ?? '';
    };
    const before = await lsn();
    await admin.query('CREATE TABLE public.later ()');
    const after = await lsn();
    await admin.end();
    const dump = async (at: string): Promise<string> =>
      await host.dumpSchema({ volumeId, projectId, at: { kind: 'lsn', lsn: at }, database: 'neondb' });
    expect(await dump(before)).not.toContain('later');
    expect(await dump(after)).toContain('CREATE TABLE public.later');
  });
});

describe('a schema-only volume', () => {
  it('has roles, databases and tables, and no row in any file', async () => {
    await host.createSchemaOnlyVolume(schemaOnly('vol-bare'));
    await host.createSchemaOnlyVolume(schemaOnly('vol-bare'));
    expect((await volumes.history('vol-bare')).newest.lsn).toBeGreaterThan(0n);
    const files = filesWithMark();
    expect(files.length).toBeGreaterThan(3);
    expect(files.filter((file) => file.includes('vol-bare'))).toEqual([]);
    const spec = specOf('bare', { projectId: source.projectId });
    await host.applySpec(spec);
    const admin = await connect(spec);
    const { rows } = await admin.query('SELECT count(*) FROM public.rows');
    expect(rows).toEqual([{ count: '0' }]);
    const owners = await admin.query(
      'SELECT rolname FROM pg_roles WHERE oid <> 10 AND NOT starts_with(rolname, $$pg_$$) ORDER BY 1',
    );
    expect(owners.rows).toEqual([{ rolname: 'boss' }, { rolname: 'helper' }, { rolname: 'neon_superuser' }]);
    await admin.end();
    await host.removeEndpoint(spec.endpointId);
    await host.deleteVolume('vol-bare');
  });

  it('is not made by a call that its deletion overtakes, nor is any volume by one that comes later', async () => {
    const making = host.createSchemaOnlyVolume(schemaOnly('vol-late'));
    await Promise.all([expect(making).rejects.toMatchObject({ code: 'CONFLICT' }), host.deleteVolume('vol-late')]);
    const request = schemaOnly('vol-late');
    const expectRefused = async (): Promise<void> => {
      const calls = [
        host.createVolume({ ...request, pgVersion: 17 }),
        host.branchVolume(request),
        host.createReplicaVolume(request),
        host.createSchemaOnlyVolume(request),
      ];
      for (const outcome of await Promise.allSettled(calls)) {
        expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'CONFLICT' } });
      }
      expect(await volumes.find('vol-late')).toBeUndefined();
    };
    await expectRefused();
    // A client that finds the host away sends its call to the next one.
    await host.stopAll();
    await openHost();
    await expectRefused();
  });

  it('is not left half made if the schema cannot be replayed', async () => {
    const admin = await connect(source);
    // Of a library that is not on this machine, as after a move from another one.
    await admin.query("UPDATE pg_proc SET probin = '$libdir/none' WHERE proname = 'moddatetime'");
    await admin.query(
      "CREATE EXTENSION moddatetime; CREATE FUNCTION public.c() RETURNS trigger AS '$libdir/moddatetime', 'moddatetime' LANGUAGE c",
    );
    await admin.query("UPDATE pg_proc SET probin = '$libdir/none' WHERE proname = 'c'");
    await expect(host.createSchemaOnlyVolume(schemaOnly('vol-broken'))).rejects.toMatchObject({
      code: 'OPERATION_FAILED',
      details: { statement: 'CREATE FUNCTION' },
    });
    expect(await volumes.find('vol-broken')).toBeUndefined();
    await admin.query('DROP FUNCTION public.c(); DROP EXTENSION moddatetime');
    await admin.end();
  });
});
