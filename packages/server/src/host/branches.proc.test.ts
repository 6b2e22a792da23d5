import type { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isConnectionLost } from '../compute/connection.ts';
import { findProcessesByCommand } from '../compute/process-table.ts';
import { must } from '../kernel/assert.ts';
import type { BranchVolume, EndpointReport, EndpointSpec, MomentRequest } from './host.ts';
import type { LocalHost } from './local-host.ts';
import {
  addEndpoint,
  connectTenant,
  makeHost,
  makeStoredBed,
  OWNER_CHANGE,
  reportOf,
  specOf,
  waitFor,
  type StoredBed,
} from './testing/test-host.ts';

/** Branches through the host: real volumes, on a backend whose live snapshots are atomic and on one where nothing is. */
describe.each(['auto', 'copy'] as const)('on the storage "%s"', (setting) => {
  let bed: StoredBed;
  let host: LocalHost;

  beforeAll(async () => {
    bed = await makeStoredBed(setting);
    host = await makeHost(bed);
  });

  afterAll(async () => {
    await host.stopAll();
    expect(findProcessesByCommand(bed.directory)).toEqual([]);
    await bed.dispose();
  });

  const add = async (name: string): Promise<EndpointSpec> =>
    await addEndpoint(host, name, { catalogChanges: [OWNER_CHANGE] });

  const requestOf = (child: EndpointSpec, parent: EndpointSpec, at: MomentRequest): BranchVolume => ({
    volumeId: child.volumeId,
    projectId: child.projectId,
    source: parent.volumeId,
    at,
    historyRetentionSeconds: 86_400,
  });

  /** Makes a branch with an endpoint, and connects to it. */
  async function branch(name: string, parent: EndpointSpec, at: MomentRequest = { kind: 'head' }): Promise<Client> {
    const child = specOf(name, { projectId: parent.projectId });
    const from = performance.now();
    await host.branchVolume(requestOf(child, parent, at));
    const madeMs = performance.now() - from;
    await host.applySpec(child);
    const client = await connectTenant(host, child);
    await client.query('SELECT 1');
    const firstRowMs = performance.now() - from;
    console.log(`${setting} ${name}: volume after ${Math.round(madeMs)} ms, first row ${Math.round(firstRowMs)} ms`);
    return client;
  }

  /** All reports of an endpoint from now on. */
  function collectReports(name: string): { readonly stop: () => Promise<readonly EndpointReport[]> } {
    const abort = new AbortController();
    const { endpointId } = specOf(name);
    const collecting = (async () => {
      const found: EndpointReport[] = [];
      for await (const report of host.reports(0, abort.signal))
        if (report.endpointId === endpointId) found.push(report);
      return found;
    })();
    return {
      stop: async () => {
        abort.abort();
        return await collecting;
      },
    };
  }

  const numbersIn = async (client: Client): Promise<number[]> =>
    (await client.query<{ n: number }>('SELECT n FROM numbers ORDER BY n')).rows.map(({ n }) => n);

  test('of a compute that runs, sleeps, has crashed, and of a branch', async () => {
    const parent = await add('parent');
    const client = await connectTenant(host, parent);
    await client.query('CREATE TABLE numbers (n int); INSERT INTO numbers VALUES (1)');
    const running = await branch('of-running', parent);
    await client.query('INSERT INTO numbers VALUES (2)');
    expect(await numbersIn(running)).toEqual([1]);
    await running.query('INSERT INTO numbers VALUES (100)');

    await client.end();
    await host.suspend(parent.endpointId);
    const asleep = await branch('of-sleeping', parent);
    expect(await numbersIn(asleep)).toEqual([1, 2]);

    const again = await connectTenant(host, parent);
    await again.query('INSERT INTO numbers VALUES (3)');
    const [found] = findProcessesByCommand(`/${parent.volumeId}/data `);
    process.kill(must(found).identity.pid, 'SIGKILL');
    await waitFor('crash seen', 5000, async () => (await reportOf(host, parent)).state === 'failed');
    const crashed = await branch('of-crashed', parent);
    expect(await numbersIn(crashed)).toEqual([1, 2, 3]);

    const grandchild = await branch('of-branch', specOf('of-running', { projectId: parent.projectId }));
    expect(await numbersIn(grandchild)).toEqual([1, 100]);
    for (const session of [running, asleep, crashed, grandchild]) await session.end();
  });

  test('at a moment, answered again the same', async () => {
    const parent = await add('moments');
    const client = await connectTenant(host, parent);
    await client.query('CREATE TABLE numbers (n int); INSERT INTO numbers VALUES (1)');
    const { rows } = await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
    await client.query('INSERT INTO numbers VALUES (2)');
    const at: MomentRequest = { kind: 'lsn', lsn: must(rows[0]).lsn };
    const child = await branch('at-moment', parent, at);
    expect(await numbersIn(child)).toEqual([1]);
    await Promise.all([child.end(), client.end()]);
    const spec = specOf('at-moment', { projectId: parent.projectId });
    const moment = await host.branchVolume(requestOf(spec, parent, at));
    expect(moment).toEqual(await host.branchVolume(requestOf(spec, parent, at)));
    const { oldest, newest } = await host.volumeHistory(parent.volumeId);
    expect([oldest.time <= moment.time, moment.time <= newest.time]).toEqual([true, true]);
    expect((await reportOf(host, spec)).catalog?.roles.map(({ name }) => name)).toContain('neondb_owner');
    await expect(host.findMoment(parent.volumeId, { kind: 'lsn', lsn: 'x' })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
    });
  });

  test('an archived volume is brought back once by twenty clients, and not archived while it is in use', async () => {
    const spec = await addEndpoint(host, 'archived', {
      catalogChanges: [OWNER_CHANGE],
    });
    await host.setHistoryRetention(spec.volumeId, 0);
    const client = await connectTenant(host, spec);
    await client.query(`CREATE TABLE numbers AS SELECT n, repeat('x', 500) AS filler FROM generate_series(1, 40000) n`);
    await expect(host.archiveVolume(spec.volumeId)).rejects.toMatchObject({ code: 'CONFLICT' });
    await client.end();
    await host.suspend(spec.endpointId);
    expect(await host.archiveVolume(spec.volumeId)).toEqual({ archived: true });
    expect(await host.archivedVolumes()).toEqual([spec.volumeId]);
    const { exclusiveBytes, logicalBytes } = await host.volumeUsage(spec.volumeId);
    expect(exclusiveBytes).toBeLessThan(logicalBytes / 2);
    await host.applySpec({ ...spec, generation: 2, pgSettings: { work_mem: '8MB' } });
    expect(await host.archivedVolumes()).toEqual([spec.volumeId]);

    const clients = await Promise.all(Array.from({ length: 20 }, async () => await connectTenant(host, spec)));
    expect(await host.archivedVolumes()).toEqual([]);
    expect((await reportOf(host, spec)).runs.filter(({ ended }) => !ended)).toHaveLength(1);
    const counts = await Promise.all(
      clients.map(async (c) => (await c.query('SELECT count(*)::int AS n FROM numbers')).rows[0]),
    );
    expect(new Set(counts.map((row) => (row as { n: number }).n))).toEqual(new Set([40_000]));
    for (const c of clients) await c.end();
    await host.suspend(spec.endpointId);
    expect(await host.archiveVolume(spec.volumeId)).toEqual({ archived: true });
    await host.removeEndpoint(spec.endpointId);
    await host.deleteVolume(spec.volumeId);
    expect(await host.archivedVolumes()).toEqual([]);
  });

  test('an endpoint moves to another volume under clients, which see only the cut of their session', async () => {
    const parent = await add('moving');
    const client = await connectTenant(host, parent);
    await client.query('CREATE TABLE numbers (n int); INSERT INTO numbers VALUES (1)');
    await client.end();
    const old = specOf('moved-to', { projectId: parent.projectId });
    await host.branchVolume(requestOf(old, parent, { kind: 'head' }));
    const failures: unknown[] = [];
    const done = new AbortController();
    const hammers = Array.from({ length: 4 }, async () => {
      while (!done.signal.aborted) {
        try {
          const session = await connectTenant(host, parent);
          for (let i = 0; i < 20; i++) await session.query('SELECT 1');
          await session.end();
        } catch (error) {
          // What the host throws never counts as a cut: only who has an address can lose a session.
          if (!isConnectionLost(error)) failures.push(error);
        }
      }
    });
    let generation = 1;
    for (const volumeId of [old.volumeId, parent.volumeId, old.volumeId]) {
      await new Promise((r) => setTimeout(r, 300));
      await host.applySpec({ ...parent, generation: ++generation, volumeId });
      const left = volumeId === old.volumeId ? parent.volumeId : old.volumeId;
      expect(findProcessesByCommand(`/${left}/data `)).toEqual([]);
    }
    done.abort();
    await Promise.all(hammers);
    expect(failures).toEqual([]);
    await host.deleteVolume(parent.volumeId);
    const moved = await connectTenant(host, parent);
    expect(await numbersIn(moved)).toEqual([1]);
    await moved.end();
  });

  test('a new volume is taken in whatever state the endpoint is', async () => {
    const parent = await add('states');
    const client = await connectTenant(host, parent);
    await client.query('CREATE TABLE numbers (n int); INSERT INTO numbers VALUES (1)');
    await client.end();
    const other = specOf('states-other', { projectId: parent.projectId });
    await host.branchVolume(requestOf(other, parent, { kind: 'head' }));
    let generation = 1;
    const move = async (volumeId: string): Promise<void> =>
      await host.applySpec({ ...parent, generation: ++generation, volumeId });
    const expectServedFrom = async (volumeId: string): Promise<void> => {
      const session = await connectTenant(host, parent);
      expect(await numbersIn(session)).toEqual([1]);
      await session.end();
      expect(findProcessesByCommand(`/${volumeId}/data `)).toHaveLength(1);
    };
    const suspending = host.suspend(parent.endpointId);
    await move(other.volumeId);
    await suspending;
    await expectServedFrom(other.volumeId);

    await host.suspend(parent.endpointId);
    const acquiring = host.acquire(parent.endpointId);
    await move(parent.volumeId);
    await acquiring;
    await expectServedFrom(parent.volumeId);

    // One that cannot start: who waits for it is served from the next.
    await move('vol-nowhere');
    await waitFor('the failure', 5000, async () => (await reportOf(host, parent)).state === 'failed');
    await expect(host.acquire(parent.endpointId)).rejects.toMatchObject({ code: 'COMPUTE_START_FAILED' });
    const waiting = host.acquire(parent.endpointId);
    await move(other.volumeId);
    await waiting;
    await expectServedFrom(other.volumeId);

    const { catalogAppliedSeq } = await reportOf(host, parent);
    await host.applySpec({
      ...parent,
      generation: ++generation,
      volumeId: parent.volumeId,
      catalogChanges: [
        { seq: 7, kind: 'keep_role', name: 'nobody', verifier: (OWNER_CHANGE as { verifier: string }).verifier },
      ],
    });
    expect(catalogAppliedSeq).toBe(1);
    await host.applyCatalog(parent.endpointId, 7);
    const report = await reportOf(host, parent);
    expect(report.catalogAppliedSeq).toBe(7);
    expect(report.catalog?.roles.map(({ name }) => name)).not.toContain('nobody');
  });

  test("a branch has none of its parent's subscriptions", async () => {
    const parent = await add('subscriber');
    const admin = await connectTenant(host, parent);
    await admin.query('CREATE TABLE numbers (n int)');
    const supported = await admin
      .query("CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere password=x' PUBLICATION p WITH (connect = false)")
      .then(
        () => true,
        () => false,
      );
    await admin.end();
    if (!supported) return;
    await host.suspend(parent.endpointId);
    const reports = collectReports('no-subscriber');
    const child = await branch('no-subscriber', parent);
    const active = (await reports.stop()).filter(({ state }) => state === 'active');
    expect(active.map(({ catalog }) => catalog?.roles.map(({ name }) => name))).toEqual(
      active.map(() => ['neondb_owner']),
    );
    expect(active).not.toEqual([]);
    expect((await child.query('SELECT oid FROM pg_subscription')).rows).toEqual([]);
    expect((await child.query('SHOW max_logical_replication_workers')).rows).not.toEqual([
      { max_logical_replication_workers: '0' },
    ]);
    await child.end();
    const again = await connectTenant(host, parent);
    expect((await again.query('SELECT oid FROM pg_subscription')).rows).toHaveLength(1);
    await again.end();
  });
});
