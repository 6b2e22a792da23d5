import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { Client, type ClientConfig } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EndpointSpec } from './host.ts';
import type { LocalHost } from './local-host.ts';
import {
  addEndpoint,
  connectAdmin,
  connectSocket,
  connectTenant,
  ROLE_PASSWORD,
  makeHost,
  makeTestBed,
  reportOf,
  waitFor,
  type TestBed,
} from './testing/test-host.ts';

let bed: TestBed;
let host: LocalHost;
const TIMEOUT_SECONDS = 2;

beforeAll(async () => {
  bed = makeTestBed();
  host = await makeHost(bed);
});

afterAll(async () => {
  await host.stopAll();
  bed.dispose();
});

async function begin(
  name: string,
  pgSettings: EndpointSpec['pgSettings'] = {},
): Promise<{ spec: EndpointSpec; client: Client }> {
  const spec = await addEndpoint(host, name, { suspendTimeoutSeconds: TIMEOUT_SECONDS, pgSettings });
  return { spec, client: await connectTenant(host, spec) };
}

/** For how long it stays active from now on, in seconds; at most `atMost`. */
async function staysActive(spec: EndpointSpec, atMost: number): Promise<number> {
  const from = performance.now();
  const seconds = (): number => (performance.now() - from) / 1000;
  await waitFor('suspended, or long enough', (atMost + 5) * 1000, async () => {
    return seconds() > atMost || (await reportOf(host, spec)).state !== 'active';
  });
  return seconds();
}

describe('activity', () => {
  test('an open connection that does nothing does not keep a compute awake', async () => {
    const { spec, client } = await begin('open');
    await client.query('SELECT 1');
    expect(await staysActive(spec, 8)).toBeLessThan(5);
    // `suspending` comes first, and a compute may still serve a query in its last moments.
    const { lastActiveAt, suspendedAt } = await waitFor('idle', 5000, async () => {
      const report = await reportOf(host, spec);
      return report.state === 'idle' ? report : undefined;
    });
    await expect(client.query('SELECT 1')).rejects.toThrow();
    const idleSeconds = (Date.parse(suspendedAt ?? '') - Date.parse(lastActiveAt ?? '')) / 1000;
    expect(idleSeconds).toBeGreaterThanOrEqual(TIMEOUT_SECONDS);
    expect(idleSeconds).toBeLessThan(TIMEOUT_SECONDS + 1.5);
  });

  test('nobody but the platform does not keep it awake', async () => {
    const { spec, client } = await begin('nobody');
    await client.end();
    expect(await staysActive(spec, 8)).toBeLessThan(5);
  });

  test('a transaction that is open keeps it awake', async () => {
    const { spec, client } = await begin('transaction');
    await client.query('BEGIN');
    expect(await staysActive(spec, 5)).toBeGreaterThanOrEqual(5);
    await client.query('COMMIT');
    expect(await staysActive(spec, 8)).toBeLessThan(5);
  });

  test('a running query keeps it awake', async () => {
    const { spec, client } = await begin('query');
    const sleeping = client.query('SELECT pg_sleep(5)');
    expect(await staysActive(spec, 4.5)).toBeGreaterThanOrEqual(4.5);
    await sleeping;
    expect(await staysActive(spec, 8)).toBeLessThan(5);
  });

  test('sessions that come and go between two looks keep it awake', async () => {
    const { spec, client } = await begin('sessions');
    await client.end();
    const { startedAt } = await reportOf(host, spec);
    const until = performance.now() + 5000;
    while (performance.now() < until) {
      // Not through acquire, which counts by itself: as a client that has the address.
      const address = await addressOf(spec);
      if (address.kind !== 'unix') throw new Error('not a socket');
      const again = await connectSocket(address.socketPath);
      await again.end();
      await new Promise((r) => setTimeout(r, 300));
    }
    expect(await reportOf(host, spec)).toMatchObject({ state: 'active', startedAt });
    expect(await staysActive(spec, 8)).toBeLessThan(5);
  });

  const addresses = new Map<string, Awaited<ReturnType<LocalHost['acquire']>>>();
  async function addressOf(spec: EndpointSpec) {
    const known = addresses.get(spec.endpointId) ?? (await host.acquire(spec.endpointId));
    addresses.set(spec.endpointId, known);
    return known;
  }

  test('a replication client keeps it awake', async () => {
    const { spec, client } = await begin('replication');
    await client.end();
    const address = await addressOf(spec);
    if (address.kind !== 'unix') throw new Error('not a socket');
    const receiver = new Client({
      host: dirname(address.socketPath),
      user: 'neondb_owner',
      password: ROLE_PASSWORD,
      database: 'neondb',
      // A walsender; `pg` passes it through as a startup parameter.
      replication: 'database',
    } as ClientConfig);
    receiver.on('error', () => undefined);
    await receiver.connect();
    expect(await staysActive(spec, 5)).toBeGreaterThanOrEqual(5);
    await receiver.end();
    expect(await staysActive(spec, 8)).toBeLessThan(5);
  });

  test("a subscription's worker keeps it awake", async () => {
    const { spec, client } = await begin('subscription');
    const admin = await connectAdmin(bed, host, spec);
    await admin.query('GRANT pg_create_subscription TO neondb_owner; GRANT CREATE ON DATABASE neondb TO neondb_owner');
    await admin.end();
    // A publisher that takes the connection and says nothing.
    const sockets = new Set<Socket>();
    const publisher = createServer((socket) => void sockets.add(socket.on('error', () => undefined)));
    await once(publisher.listen(0, '127.0.0.1'), 'listening');
    const { port } = publisher.address() as AddressInfo;
    const connection = `host=127.0.0.1 port=${port} dbname=x user=x password=x`;
    await client.query(`CREATE SUBSCRIPTION s CONNECTION '${connection}' PUBLICATION p WITH (connect = false)`);
    await client.query('ALTER SUBSCRIPTION s ENABLE');
    await waitFor('the worker', 10_000, () => sockets.size > 0);
    await client.query('ALTER SUBSCRIPTION s DISABLE');
    await client.end();
    expect(await staysActive(spec, 5)).toBeGreaterThanOrEqual(5);
    for (const socket of sockets) socket.destroy();
    publisher.close();
    expect(await staysActive(spec, 8)).toBeLessThan(5);
  });

  test('an autovacuum worker keeps it awake', async () => {
    const { spec, client } = await begin('autovacuum', {
      autovacuum_naptime: '1s',
      autovacuum_vacuum_cost_delay: '100ms',
      autovacuum_vacuum_cost_limit: '1',
    });
    await client.query('CREATE TABLE t AS SELECT generate_series(1, 20000) AS n');
    await client.query('DELETE FROM t WHERE n % 2 = 0');
    await client.end();
    const looking = await connectTenant(host, spec);
    await waitFor('the worker', 20_000, async () => {
      const { rows } = await looking.query(`SELECT 1 FROM pg_stat_activity WHERE query LIKE 'autovacuum: %public.t%'`);
      return rows.length > 0;
    });
    await looking.end();
    expect(await staysActive(spec, 5)).toBeGreaterThanOrEqual(5);
  });

  test('a role that SQL made is seen, however soon the suspend is ordered', async () => {
    for (let round = 0; round < 10; round++) {
      const spec = await addEndpoint(host, `soon-${round}`);
      const client = await connectTenant(host, spec);
      await new Promise((r) => setTimeout(r, round * 60));
      await client.query("CREATE ROLE by_sql LOGIN PASSWORD 'secret'");
      await host.suspend(spec.endpointId);
      expect((await reportOf(host, spec)).catalog?.roles.map(({ name }) => name)).toEqual(['by_sql', 'neondb_owner']);
    }
  });

  test('a role and a database that SQL made are seen', async () => {
    const spec = await addEndpoint(host, 'sql-made');
    const client = await connectTenant(host, spec);
    await client.query("CREATE ROLE by_sql LOGIN PASSWORD 'secret'");
    await client.query('CREATE ROLE group_only NOLOGIN');
    await client.query('CREATE DATABASE by_sql');
    const { catalog, logicalBytes } = await waitFor('the report', 5000, async () => {
      const report = await reportOf(host, spec);
      const isSeen = report.catalog?.databases.some(({ name }) => name === 'by_sql');
      return isSeen && report.logicalBytes !== null ? report : undefined;
    });
    expect(catalog?.roles.map(({ name }) => name)).toEqual(['by_sql', 'neondb_owner']);
    expect(catalog?.roles[0]?.verifier).toMatch(/^SCRAM-SHA-256\$/);
    expect(catalog?.databases).toEqual([
      { name: 'by_sql', owner: 'neondb_owner' },
      { name: 'neondb', owner: 'neondb_owner' },
    ]);
    expect(logicalBytes).toBeGreaterThan(1e6);
    expect(await host.findRoleVerifier(spec.endpointId, 'by_sql')).toBe(catalog?.roles[0]?.verifier);
    expect(await host.findRoleVerifier(spec.endpointId, 'cloud_admin')).toBeUndefined();
    await client.end();
  });
});
