import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findProcessesByCommand } from '../compute/process-table.ts';
import { must } from '../kernel/assert.ts';
import { parseSegmentName } from '../wal/segment-name.ts';
import type { EndpointSpec } from './host.ts';
import type { LocalHost } from './local-host.ts';
import {
  addEndpoint,
  connectAdmin,
  connectTenant,
  makeHost,
  makeStoredBed,
  OWNER_CHANGE,
  reportOf,
  specOf,
  waitFor,
  type StoredBed,
} from './testing/test-host.ts';

const FOLLOW_MS = 20_000;

/** Read replicas through the host: real standbys, where clones share blocks and where they are copies. */
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

  const add = async (name: string, overrides: Partial<EndpointSpec> = {}): Promise<EndpointSpec> =>
    await addEndpoint(host, name, { catalogChanges: [OWNER_CHANGE], ...overrides });

  async function addReplica(
    name: string,
    primary: EndpointSpec,
    overrides: Partial<EndpointSpec> = {},
  ): Promise<EndpointSpec> {
    const { projectId, volumeId: primaryVolumeId } = primary;
    const spec = specOf(name, { projectId, type: 'read_only', primaryVolumeId, ...overrides });
    await host.createReplicaVolume({ volumeId: spec.volumeId, projectId, source: primaryVolumeId });
    await host.applySpec(spec);
    return spec;
  }

  const countIn = async (client: Client): Promise<number> =>
    Number((await client.query('SELECT count(*) FROM numbers')).rows[0].count);

  const follows = async (client: Client, count: number): Promise<void> =>
    void (await waitFor(`${count} rows`, FOLLOW_MS, async () => (await countIn(client)) === count));

  const dirOf = (kind: 'wal' | 'history', { volumeId }: EndpointSpec): string =>
    join(bed.options.hostDir, kind, volumeId);

  function killPostgres({ volumeId }: EndpointSpec): void {
    process.kill(must(findProcessesByCommand(`/${volumeId}/data `)[0]).identity.pid, 'SIGKILL');
  }

  const dataPathOf = async (spec: EndpointSpec): Promise<string> =>
    must(await bed.options.volumes.find(spec.volumeId)).dataPath;

  test('two follow, take no writes, and wake where they left off', async () => {
    const primary = await add('followed');
    const writer = await connectTenant(host, primary);
    await writer.query('CREATE TABLE numbers AS SELECT 1 AS n');
    const specs = [await addReplica('one', primary), await addReplica('two', primary)] as const;
    const from = performance.now();
    const readers = [await connectTenant(host, specs[0]), await connectTenant(host, specs[1])] as const;
    console.log(`${setting}: two replicas awake after ${Math.round(performance.now() - from)} ms`);
    for (const reader of readers) {
      expect(await countIn(reader)).toBe(1);
      expect((await reader.query('SELECT pg_is_in_recovery() AS is')).rows).toEqual([{ is: true }]);
      await expect(reader.query('INSERT INTO numbers VALUES (2)')).rejects.toMatchObject({ code: '25006' });
    }
    const insertedAt = performance.now();
    await writer.query('INSERT INTO numbers VALUES (2)');
    await follows(readers[0], 2);
    console.log(`${setting}: a row is there after ${Math.round(performance.now() - insertedAt)} ms`);
    await follows(readers[1], 2);
    await waitFor('lag of 0', FOLLOW_MS, async () => (await reportOf(host, specs[0])).replicaLagBytes === 0);

    // Across segments, and a stop of the primary.
    await writer.query('INSERT INTO numbers SELECT g FROM generate_series(3, 600000) g');
    await writer.end();
    await host.suspend(primary.endpointId);
    for (const reader of readers) await follows(reader, 600_000);
    for (const reader of readers) await reader.end();
    for (const { endpointId } of specs) await host.suspend(endpointId);
    expect(await reportOf(host, specs[0])).toMatchObject({ state: 'idle', replicaLagBytes: null });

    const again = await connectTenant(host, primary);
    await again.query('DELETE FROM numbers WHERE n > 10');
    await again.query(`CREATE ROLE late LOGIN PASSWORD 'late'`);
    await again.end();
    await host.suspend(primary.endpointId);
    const made = statSync(join(await dataPathOf(specs[0]), 'PG_VERSION')).ino;
    const woken = await connectTenant(host, specs[0]);
    expect(statSync(join(await dataPathOf(specs[0]), 'PG_VERSION')).ino).toBe(made);
    // What was there when it was woken is there at once.
    expect(await countIn(woken)).toBe(10);
    expect((await woken.query(`SELECT rolname FROM pg_roles WHERE rolname = 'late'`)).rowCount).toBe(1);
    await woken.end();
    await removeAll(specs);
    await removeAll([primary]);
  });

  async function removeAll(specs: readonly EndpointSpec[]): Promise<void> {
    for (const spec of specs) {
      await host.removeEndpoint(spec.endpointId);
      await host.deleteVolume(spec.volumeId);
      expect([existsSync(dirOf('wal', spec)), existsSync(dirOf('history', spec))]).toEqual([false, false]);
    }
  }

  test('writes nothing into the WAL of its primary', async () => {
    const primary = await add('untouched');
    const writer = await connectTenant(host, primary);
    await writer.query('CREATE TABLE numbers AS SELECT g AS n FROM generate_series(1, 300000) g');
    const spec = await addReplica('toucher', primary);
    const reader = await connectTenant(host, spec);
    await follows(reader, 300_000);
    await writer.end();
    await host.suspend(primary.endpointId);
    const before = walOf(dirOf('history', primary));
    // Its own checkpoint, a stop, a crash, and starts.
    await reader.end();
    await host.suspend(spec.endpointId);
    await (await connectTenant(host, spec)).end();
    killPostgres(spec);
    await waitFor('crash seen', 5000, async () => (await reportOf(host, spec)).state === 'failed');
    const revived = await connectTenant(host, spec);
    expect(await countIn(revived)).toBe(300_000);
    await revived.end();
    expect(walOf(dirOf('history', primary))).toEqual(before);
    const dataPath = await dataPathOf(spec);
    expect([existsSync(join(dataPath, 'standby.signal')), existsSync(join(dataPath, 'promote'))]).toEqual([
      true,
      false,
    ]);
    // Each segment that it has is the primary's own file.
    const inodes = new Set(
      readdirSync(dirOf('history', primary)).map((n) => statSync(join(dirOf('history', primary), n)).ino),
    );
    const segments = readdirSync(dirOf('wal', spec)).filter(parseSegmentName);
    expect(segments.length).toBeGreaterThan(0);
    expect(segments.every((name) => inodes.has(statSync(join(dirOf('wal', spec), name)).ino))).toBe(true);
    await removeAll([spec, primary]);
  });

  test('follows a branch that has never run into its new timeline', async () => {
    const parent = await add('grown');
    const writer = await connectTenant(host, parent);
    await writer.query('CREATE TABLE numbers AS SELECT 1 AS n');
    const child = specOf('young', { projectId: parent.projectId });
    await host.branchVolume({
      volumeId: child.volumeId,
      projectId: child.projectId,
      source: parent.volumeId,
      at: { kind: 'head' },
      historyRetentionSeconds: 3600,
    });
    await host.applySpec(child);
    const spec = await addReplica('young-reader', child);
    const reader = await connectTenant(host, spec);
    expect(await countIn(reader)).toBe(1);
    const own = await connectTenant(host, child);
    await own.query('INSERT INTO numbers VALUES (2)');
    await writer.query('INSERT INTO numbers VALUES (3), (4)');
    await follows(reader, 2);
    killPostgres(child);
    await waitFor('crash seen', 5000, async () => (await reportOf(host, child)).state === 'failed');
    const revived = await connectTenant(host, child);
    await revived.query('INSERT INTO numbers VALUES (5)');
    await follows(reader, 3);
    for (const client of [reader, own, revived, writer]) await client.end();
    await removeAll([spec, child, parent]);
  });

  test('is started again with more room when its primary gets it', async () => {
    const primary = await add('growing');
    const writer = await connectTenant(host, primary);
    await writer.query('CREATE TABLE numbers AS SELECT 1 AS n');
    const spec = await addReplica('grows-along', primary);
    const reader = await connectTenant(host, spec);
    const small = Number((await reader.query('SHOW max_connections')).rows[0].max_connections);
    await writer.end();
    const pgSettings = { max_prepared_transactions: '20' };
    await host.applySpec({ ...primary, generation: 2, minCu: 1, maxCu: 2, pgSettings });
    const larger = await connectTenant(host, primary);
    await larger.query('INSERT INTO numbers VALUES (2)');
    await waitFor('started again with more room', FOLLOW_MS, async () => {
      // It may be cut on its way, even while it logs in.
      const now = await connectTenant(host, spec).catch(() => undefined);
      const shown = await now?.query('SHOW max_connections').catch(() => undefined);
      await now?.end().catch(() => undefined);
      return Number(shown?.rows[0].max_connections ?? 0) > small;
    });
    const again = await connectTenant(host, spec);
    await follows(again, 2);
    // And back: it keeps what its WAL asks for.
    await host.applySpec({ ...primary, generation: 3 });
    const smaller = await connectTenant(host, primary);
    await smaller.query('INSERT INTO numbers VALUES (3)');
    await follows(again, 3);
    for (const client of [reader, larger, again, smaller]) await client.end().catch(() => undefined);
    await host.suspend(spec.endpointId);
    const rested = await connectTenant(host, spec);
    expect(await countIn(rested)).toBe(3);
    await rested.end();
    await removeAll([spec, primary]);
  });

  test('ends where WAL went by while no host was there, and is made anew', async () => {
    const primary = await add('unwatched');
    const writer = await connectTenant(host, primary);
    await writer.query('CREATE TABLE numbers AS SELECT 1 AS n');
    const spec = await addReplica('cut-off', primary);
    const reader = await connectTenant(host, spec);
    await follows(reader, 1);
    const admin = await connectAdmin(bed, host, primary);
    await host.detach();
    await writer.query('INSERT INTO numbers SELECT g FROM generate_series(2, 600000) g');
    await admin.query('CHECKPOINT');
    await admin.end();
    const known = new Set(readdirSync(dirOf('history', primary)));
    const missed = readdirSync(dirOf('wal', primary)).filter((name) => parseSegmentName(name) && !known.has(name));
    rmSync(join(dirOf('wal', primary), must(missed.sort()[0])));
    // A store that remembers nothing, as in another process.
    bed = await makeStoredBed(setting, bed.directory);
    host = await makeHost(bed);
    const woken = await waitFor('made anew', FOLLOW_MS, async () => {
      const client = await connectTenant(host, spec).catch(() => undefined);
      const count = client && (await countIn(client).catch(() => undefined));
      if (count === 600_000) return client;
      await client?.end().catch(() => undefined);
      return undefined;
    });
    for (const client of [woken, reader, writer]) await client.end().catch(() => undefined);
    await removeAll([spec, primary]);
  });

  test('is made anew where it cannot go on', async () => {
    const primary = await add('moved-on');
    const writer = await connectTenant(host, primary);
    await writer.query('CREATE TABLE numbers AS SELECT 1 AS n');
    const spec = await addReplica('left-behind', primary);
    const sleeper = await connectTenant(host, spec);
    await sleeper.end();
    await host.suspend(spec.endpointId);
    await writer.query('INSERT INTO numbers SELECT g FROM generate_series(2, 600000) g');
    // As retention does after long: the segment that the replica stopped in is gone.
    const [oldest] = readdirSync(dirOf('wal', spec)).filter(parseSegmentName).sort();
    await writer.query('CHECKPOINT').catch(() => undefined);
    rmSync(join(dirOf('history', primary), must(oldest)));
    rmSync(join(dirOf('wal', primary), must(oldest)), { force: true });
    await host.suspend(primary.endpointId);
    await waitFor('archived', 5000, async () => (await reportOf(host, primary)).state === 'idle');
    rmSync(join(dirOf('history', primary), must(oldest)), { force: true });
    const woken = await connectTenant(host, spec);
    expect(await countIn(woken)).toBe(600_000);
    await woken.end();
    await host.suspend(spec.endpointId);
    // Of another boot: what the primary lost with the machine, it may have.
    const recordPath = join(await dataPathOf(spec), '../volume.json');
    const record = JSON.parse(readFileSync(recordPath, 'utf8')) as { createdAt: string; replica: object };
    writeFileSync(recordPath, JSON.stringify({ ...record, replica: { ...record.replica, bootId: 'last' } }));
    const rebooted = await connectTenant(host, spec);
    await follows(rebooted, 600_000);
    expect(JSON.parse(readFileSync(join(await dataPathOf(spec), '../volume.json'), 'utf8')).createdAt).not.toBe(
      record.createdAt,
    );
    await rebooted.end();
    // And one that is not there at all.
    await host.suspend(spec.endpointId);
    await bed.options.volumes.delete(spec.volumeId);
    const remade = await connectTenant(host, spec);
    expect(await countIn(remade)).toBe(600_000);
    await remade.end();
    await writer.end().catch(() => undefined);
    await removeAll([spec, primary]);
  });
});

function walOf(directory: string): unknown {
  const names = readdirSync(directory).filter(parseSegmentName).sort();
  return names.map((name) => {
    const path = join(directory, name);
    const { mtimeMs, size } = statSync(path);
    return { name, mtimeMs, size, sum: execFileSync('cksum', [path]).toString() };
  });
}
