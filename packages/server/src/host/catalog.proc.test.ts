import { Client } from 'pg';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PlatformError } from '../kernel/errors.ts';
import { makeVerifier } from '../kernel/scram-verifier.ts';
import type { CatalogChange, EndpointReport, EndpointSpec } from './host.ts';
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

type Change = CatalogChange extends infer C ? (C extends { seq: number } ? Omit<C, 'seq'> : never) : never;

const withSeq = (changes: readonly Change[], from: number): CatalogChange[] =>
  changes.map((change, i) => ({ ...change, seq: from + i }));

/** Sends the changes as control does, and waits for the last. */
async function order(spec: EndpointSpec, from: number, ...changes: Change[]): Promise<void> {
  const catalogChanges = withSeq(changes, from);
  await host.applySpec({ ...spec, generation: from + 1, catalogChanges });
  await host.applyCatalog(spec.endpointId, from + changes.length - 1);
}

async function connectAs(spec: EndpointSpec, user: string, password: string, database: string): Promise<Client> {
  const address = await host.acquire(spec.endpointId);
  if (address.kind !== 'unix') throw new Error('not a socket');
  const client = new Client({ host: dirname(address.socketPath), user, password, database });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

const refusal = async (work: Promise<unknown>): Promise<{ code: string; sqlstate: unknown } | undefined> =>
  await work.then(
    () => undefined,
    (error: unknown) => {
      if (!(error instanceof PlatformError)) throw error;
      return { code: error.code, sqlstate: error.details['sqlstate'] };
    },
  );

const STRANGE = 'o"dd \\ näme';

describe('catalog changes', () => {
  test('pending ones are applied at the start, before anyone gets the address', async () => {
    const catalogChanges = withSeq([{ kind: 'put_role', name: 'app', verifier: makeVerifier('first-secret') }], 1);
    const spec = await addEndpoint(host, 'pending', { catalogChanges });
    const client = await connectAs(spec, 'app', 'first-secret', 'neondb');
    const { rows } = await client.query(
      `SELECT rolcreatedb, rolcreaterole, rolbypassrls, rolreplication, rolsuper, pg_has_role('neon_superuser', 'member') AS member
       FROM pg_roles WHERE rolname = 'app'`,
    );
    expect(rows).toEqual([
      {
        rolcreatedb: true,
        rolcreaterole: true,
        rolbypassrls: true,
        rolreplication: true,
        rolsuper: false,
        member: true,
      },
    ]);
    await client.end();
    expect(await reportOf(host, spec)).toMatchObject({ catalogAppliedSeq: 1 });
    expect((await reportOf(host, spec)).catalog?.roles.map((r) => r.name)).toContain('app');
  });

  test('no report tells of a change without what it has made', async () => {
    const spec = await addEndpoint(host, 'together');
    const client = await connectTenant(host, spec);
    const abort = new AbortController();
    const wrong: EndpointReport[] = [];
    const reading = (async () => {
      for await (const report of host.reports(0, abort.signal)) {
        if (report.endpointId !== spec.endpointId) continue;
        const names = report.catalog?.roles.map(({ name }) => name) ?? [];
        for (let seq = 1; seq <= report.catalogAppliedSeq; seq++) if (!names.includes(`r${seq}`)) wrong.push(report);
      }
    })();
    for (let seq = 1; seq <= 30; seq++) {
      // What SQL makes at the same time is read over another session.
      await client.query(`CREATE ROLE by_sql${seq} LOGIN`);
      await order(spec, seq, { kind: 'put_role', name: `r${seq}`, verifier: makeVerifier('x') });
    }
    await waitFor('what SQL made', 5000, async () =>
      (await reportOf(host, spec)).catalog?.roles.some(({ name }) => name === 'by_sql30'),
    );
    abort.abort();
    await reading;
    expect(wrong).toEqual([]);
    await client.end();
  });

  test('a change that waits for a lock in vain is not refused, but can be applied later', async () => {
    const spec = await addEndpoint(host, 'locked');
    const put = { kind: 'put_role', name: 'held', verifier: makeVerifier('old') } as const;
    await order(spec, 1, put);
    const other = await connectAdmin(bed, host, spec);
    await other.query("BEGIN; ALTER ROLE held PASSWORD 'in the making'");
    const change = { ...put, verifier: makeVerifier('new') };
    expect(await refusal(order(spec, 2, change))).toEqual({ code: 'DEADLINE_EXCEEDED', sqlstate: '55P03' });
    await other.query('ROLLBACK');
    await order(spec, 2, change);
    await (await connectAs(spec, 'held', 'new', 'neondb')).end();
    await other.end();
  });

  test('a role that is kept gets the verifier, and nothing is written where it has it', async () => {
    const spec = await addEndpoint(host, 'kept');
    const admin = await connectAdmin(bed, host, spec);
    const rowVersion = async (): Promise<unknown> =>
      (await admin.query("SELECT xmin FROM pg_authid WHERE rolname = 'kept'")).rows;
    const keep = { kind: 'keep_role', name: 'kept', verifier: makeVerifier('old') } as const;
    await order(spec, 1, { ...keep, kind: 'put_role' });
    const before = await rowVersion();
    await order(spec, 2, keep);
    expect(await rowVersion()).toEqual(before);
    await order(spec, 3, { ...keep, verifier: makeVerifier('new') });
    await (await connectAs(spec, 'kept', 'new', 'neondb')).end();
    for (const [index, change] of ['PASSWORD NULL', 'NOLOGIN'].entries()) {
      await admin.query(`ALTER ROLE kept ${change}`);
      await order(spec, 4 + index, keep);
      await (await connectAs(spec, 'kept', 'old', 'neondb')).end();
    }
    await order(spec, 6, { ...keep, name: 'nobody' });
    expect((await reportOf(host, spec)).catalog?.roles.map(({ name }) => name)).not.toContain('nobody');
    await admin.end();
  });

  test('each kind works, twice, with any name', async () => {
    const spec = await addEndpoint(host, 'kinds');
    const put = { kind: 'put_role', name: STRANGE, verifier: makeVerifier('a') } as const;
    await order(spec, 1, put, put);
    const create = { kind: 'create_database', name: STRANGE, owner: STRANGE } as const;
    await order(spec, 3, create, create);
    await order(spec, 5, { ...put, verifier: makeVerifier('b') });
    const client = await connectAs(spec, STRANGE, 'b', STRANGE);
    const update = { kind: 'update_database', name: STRANGE, newName: 'plain', owner: 'neondb_owner' } as const;
    await order(spec, 6, update, update);
    await client.end().catch(() => undefined);
    const rename = { kind: 'rename_role', name: STRANGE, newName: 'renamed' } as const;
    await order(spec, 8, rename, rename);
    await (await connectAs(spec, 'renamed', 'b', 'plain')).end();
    // A session that stays open does not keep its database.
    await connectAs(spec, 'renamed', 'b', 'plain');
    const drop = { kind: 'drop_database', name: 'plain' } as const;
    await order(spec, 10, drop, drop);
    await order(spec, 12, { kind: 'drop_role', name: 'renamed' }, { kind: 'drop_role', name: 'renamed' });
    expect((await reportOf(host, spec)).catalog).toMatchObject({
      roles: [{ name: 'neondb_owner' }],
      databases: [{ name: 'neondb', owner: 'neondb_owner' }],
    });
  });

  test('what a dropped role owned goes to the owner of its database', async () => {
    const spec = await addEndpoint(host, 'heirs');
    await order(spec, 1, { kind: 'put_role', name: 'leaver', verifier: makeVerifier('x') });
    const owner = await connectTenant(host, spec);
    await owner.query('GRANT CREATE ON SCHEMA public TO leaver');
    const leaver = await connectAs(spec, 'leaver', 'x', 'neondb');
    await leaver.query('CREATE TABLE kept AS SELECT 7 AS n');
    await leaver.end();
    await order(spec, 2, { kind: 'drop_role', name: 'leaver' });
    expect((await owner.query('SELECT tableowner FROM pg_tables WHERE tablename = $1', ['kept'])).rows).toEqual([
      { tableowner: 'neondb_owner' },
    ]);
    await owner.end();
  });

  test('a role that owns a database is not dropped, in the words of Postgres', async () => {
    const spec = await addEndpoint(host, 'refused');
    const dropped = order(spec, 1, { kind: 'drop_role', name: 'neondb_owner' });
    await expect(dropped).rejects.toThrow(/cannot be dropped/);
    expect(await refusal(host.applyCatalog(spec.endpointId, 1))).toEqual({
      code: 'CATALOG_CHANGE_REFUSED',
      sqlstate: '2BP01',
    });
    await host.suspend(spec.endpointId);
    await (await connectTenant(host, spec)).end();
    expect((await reportOf(host, spec)).catalogAppliedSeq).toBe(0);
  });

  test.each(['suspended', 'killed'] as const)('one whose compute is %s meanwhile is to be retried', async (how) => {
    const spec = await addEndpoint(host, `lost-${how}`);
    const put = { kind: 'put_role', name: 'app', verifier: makeVerifier('x') } as const;
    await order(spec, 1, put);
    const locker = await connectAdmin(bed, host, spec);
    await locker.query('BEGIN; ALTER ROLE app CONNECTION LIMIT 7');
    const admin = await connectAdmin(bed, host, spec);
    const ordered = order(spec, 2, put).catch((error: unknown) => error);
    await waitFor('the change waits', 5000, async () => {
      const waits = await admin.query(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`);
      return waits.rowCount === 1;
    });
    if (how === 'suspended') await host.suspend(spec.endpointId);
    else {
      const { rows } = await admin.query<{ pid: string }>(
        `SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1) AS pid`,
      );
      process.kill(Number(rows[0]?.pid), 'SIGKILL');
    }
    const error = await ordered;
    if (error) expect(error).toMatchObject({ code: 'COMPUTE_START_FAILED', isRetryable: true });
    await waitFor('it is applied', 20_000, async () => {
      await host.applyCatalog(spec.endpointId, 2).catch(() => undefined);
      return (await reportOf(host, spec)).catalogAppliedSeq === 2;
    });
  });

  test.each<Change>([
    { kind: 'drop_role', name: 'cloud_admin' },
    { kind: 'put_role', name: 'neon_superuser', verifier: makeVerifier('x') },
    { kind: 'rename_role', name: 'neondb_owner', newName: 'pg_monitor' },
    { kind: 'put_role', name: 'plain', verifier: 'a password' },
    { kind: 'drop_database', name: 'postgres' },
    { kind: 'create_database', name: 'template1', owner: 'neondb_owner' },
    { kind: 'create_database', name: 'orphan', owner: 'nobody' },
  ])('$kind of $name is refused', async (change) => {
    const spec = await addEndpoint(host, `reserved-${change.kind.replace('_', '-')}-${change.name.length}`);
    expect(await refusal(order(spec, 1, change))).toMatchObject({ code: 'CATALOG_CHANGE_REFUSED' });
    await host.suspend(spec.endpointId);
  });
});
