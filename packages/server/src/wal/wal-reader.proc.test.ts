import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { must } from '../kernel/assert.ts';
import { sleep } from '../kernel/wait.ts';
import { readControlFile } from './control-file.ts';
import { findEndOfWal, findEndOfWalAfterCrash } from './find-end.ts';
import { findTime, lastRecordEndAtOrBefore } from './find-moment.ts';
import { formatLsn, parseLsn, type Lsn } from './lsn.ts';
import { nextSegmentStart, segmentName, segmentStart } from './segment-name.ts';
import { engines, TestCluster } from './testing/test-cluster.ts';
import { walkWal } from './wal-reader.ts';
import { walDirectory, type WalSource } from './wal-source.ts';

const XLOG_OVERWRITE_CONTRECORD = 0xd0;

const run = promisify(execFile);

interface Seen {
  readonly boundary: Lsn;
  readonly start: Lsn;
  readonly end: Lsn;
  readonly xid: number;
  readonly rmid: number;
  readonly info: number;
  readonly timeUs: number | undefined;
}

async function recordsOf(source: WalSource, from: Lsn, checksums = true): Promise<Seen[]> {
  const seen: Seen[] = [];
  await walkWal(source, {
    from,
    checksums,
    visit: ({ boundary, start, end, xid, rmid, info, xactTimeUs: timeUs }) => {
      seen.push({ boundary, start, end, xid, rmid, info, timeUs });
    },
  });
  return seen;
}

const sourceOf = (cluster: TestCluster): WalSource => walDirectory(cluster.walPath, [{ timeline: 1, from: 0n }]);

/** Records of all sizes, over pages and over segments; transactions of each kind of end; a segment that ends early. */
async function writeLoad(cluster: TestCluster): Promise<void> {
  const client = await cluster.connect();
  await client.query('create table t (n int primary key, filler text)');
  for (let n = 0; n < 300; n++) {
    await client.query('insert into t values ($1, repeat($2, $3))', [n, 'x', Math.floor(Math.random() * 3000)]);
  }
  await client.query('begin; insert into t values (1000); rollback');
  await client.query('begin');
  await client.query("insert into t values (1001); prepare transaction 'a'");
  await client.query("commit prepared 'a'");
  await client.query('begin');
  await client.query("insert into t values (1002); prepare transaction 'b'");
  await client.query("rollback prepared 'b'");
  await client.query(
    'begin; savepoint a; insert into t values (2000); savepoint b; insert into t values (2001); commit',
  );
  await client.query('select pg_switch_wal()');
  await client.query(
    "insert into t values (3000); select pg_logical_emit_message(false, 'big', repeat('x', 40000000))",
  );
  await client.query('insert into t select n, md5(n::text) from generate_series(10000, 60000) n');
  await client.query('checkpoint');
  await client.query('update t set filler = filler where n >= 10000 and n % 7 = 0');
  await client.end();
}

describe.each(await engines())('WAL of Postgres $fullVersion ($source)', (engine) => {
  test('every record, as Postgres itself sees them', async () => {
    await using cluster = await TestCluster.create(engine);
    const source = sourceOf(cluster);
    const { control: before } = await readControlFile(cluster.dataPath);
    await cluster.start();
    await writeLoad(cluster);
    const [info] = await cluster.query<{ lsn: string; redo: string; id: string; timeline: number; time: Date }>(
      `select checkpoint_lsn as lsn, redo_lsn as redo, timeline_id as timeline, checkpoint_time as time,
              (select system_identifier::text from pg_control_system()) as id
       from pg_control_checkpoint()`,
    );
    const { control: running } = await readControlFile(cluster.dataPath);
    expect(running).toMatchObject({
      state: 'in production',
      checkpoint: parseLsn(must(info).lsn),
      redo: parseLsn(must(info).redo),
      timeline: must(info).timeline,
      systemIdentifier: BigInt(must(info).id),
      checkpointTime: must(info).time,
    });
    const xids = await cluster.query<{ xid: string; us: string }>(
      `select distinct x.xid, (extract(epoch from pg_xact_commit_timestamp(x.xid)) * 1000000)::int8 as us
       from (select xmin as xid from t where n < 1002 or n >= 3000) x`,
    );
    await cluster.stop();

    const { control } = await readControlFile(cluster.dataPath);
    const seen = await recordsOf(source, before.checkpoint);
    expect(control.state).toBe('shut down');
    expect(seen.at(-1)).toMatchObject({ start: control.checkpoint, rmid: 0 });
    expect(await recordsOf(source, before.checkpoint, false)).toEqual(seen);
    expect(seen.every(({ boundary }, i) => i === 0 || boundary === seen[i - 1]?.end)).toBe(true);
    const end = must(seen.at(-1)).end;
    expect(await findEndOfWal(source, before.checkpoint)).toBe(end);
    expect(await findEndOfWal(source, control.checkpoint)).toBe(end);

    const times = new Map(seen.filter(({ timeUs }) => timeUs !== undefined).map(({ xid, timeUs }) => [xid, timeUs]));
    expect(xids.length).toBeGreaterThan(300);
    for (const { xid, us } of xids) if (times.has(Number(xid))) expect(times.get(Number(xid))).toBe(Number(us));
    expect(xids.filter(({ xid }) => !times.has(Number(xid)))).toHaveLength(1); // The prepared one's end has no xid.
    await compareWithWaldump(cluster, dirname(engine.postgresPath), before.checkpoint, seen);
  });

  test('moments are found from any place', async () => {
    await using cluster = await TestCluster.create(engine);
    const source = sourceOf(cluster);
    const { control } = await readControlFile(cluster.dataPath);
    await cluster.start();
    await writeLoad(cluster);
    await cluster.stop('SIGQUIT');
    const seen = await recordsOf(source, control.checkpoint);
    const end = must(seen.at(-1)).end;
    for (let i = 0; i < 40; i++) {
      const lsn = control.checkpoint + 1000n + BigInt(Math.floor(Math.random() * Number(end - control.checkpoint)));
      expect(await lastRecordEndAtOrBefore(source, lsn, 0n)).toBe(seen.findLast((record) => record.end <= lsn)?.end);
    }
    for (const exact of [must(seen[17]).end, end, nextSegmentStart(must(seen[0]).start)]) {
      expect(await lastRecordEndAtOrBefore(source, exact, 0n)).toBe(
        seen.findLast((record) => record.end <= exact)?.end,
      );
    }
    const ended = seen.filter((record) => record.timeUs !== undefined);
    for (let i = 0; i < 40; i++) {
      const timeUs = must(must(ended[Math.floor(Math.random() * ended.length)]).timeUs) - (i % 2);
      const first = ended.find((record) => must(record.timeUs) > timeUs);
      const found = await findTime(source, control.checkpoint, timeUs);
      expect(found).toMatchObject(
        first ? { kind: 'cut', lsn: first.boundary, timeUs: first.timeUs } : { kind: 'end', lsn: end },
      );
    }
  });

  test('the end moves as Postgres writes', async () => {
    await using cluster = await TestCluster.create(engine);
    const source = sourceOf(cluster);
    const { control } = await readControlFile(cluster.dataPath);
    await cluster.start();
    const writer = await cluster.connect();
    const reader = await cluster.connect();
    const position = async (of: string): Promise<Lsn> =>
      must(parseLsn((await reader.query(`select pg_current_wal_${of}() as lsn`)).rows[0].lsn as string));
    await writer.query('create table t (n int, filler text)');
    const stop = new AbortController();
    const written = (async () => {
      while (!stop.signal.aborted) {
        await writer.query("insert into t select n, repeat('x', n % 2500) from generate_series(1, 200) n");
      }
    })();
    for (let i = 0; i < 60; i++) {
      const flushed = await position('flush_lsn');
      const end = await findEndOfWal(source, control.checkpoint);
      // A flushed LSN may be inside a record, or behind the header of a page that has no record yet.
      expect(end).toBeGreaterThanOrEqual(must(await lastRecordEndAtOrBefore(source, flushed, 0n)));
      expect(end).toBeLessThanOrEqual(await position('insert_lsn'));
    }
    stop.abort();
    await written;
    await Promise.all([writer.end(), reader.end()]);
  });

  test('a record that was torn by a crash is passed over once Postgres has', async () => {
    await using cluster = await TestCluster.create(engine);
    const source = sourceOf(cluster);
    const { control: before } = await readControlFile(cluster.dataPath);
    for (let crash = 0; crash < 3; crash++) {
      await cluster.start();
      const client = await cluster.connect();
      client.on('error', () => {});
      await client.query('create table if not exists t (n int)');
      const start = await findEndOfWal(source, before.checkpoint);
      const torn = client.query("select pg_logical_emit_message(false, 'big', repeat('x', 60000000))").catch(() => {});
      while (!existsSync(join(cluster.walPath, segmentName(1, nextSegmentStart(start))))) await sleep(1);
      await cluster.stop('SIGQUIT');
      await torn;
      await client.end().catch(() => {});
      expect(await findEndOfWal(source, before.checkpoint)).toBe(
        await findEndOfWalAfterCrash(source, before.checkpoint),
      );
    }
    await cluster.start();
    await cluster.query('insert into t values (1)');
    await cluster.stop();
    const { control } = await readControlFile(cluster.dataPath);
    const seen = await recordsOf(source, before.checkpoint);
    expect(seen.at(-1)).toMatchObject({ start: control.checkpoint });
    expect(seen.filter(({ rmid, info }) => rmid === 0 && info === XLOG_OVERWRITE_CONTRECORD).length).toBeGreaterThan(0);
  });

  test('garbage ends the walk where it begins', async () => {
    await using cluster = await TestCluster.create(engine);
    const source = sourceOf(cluster);
    const { control } = await readControlFile(cluster.dataPath);
    await cluster.start();
    await cluster.query(`create table t as select n, repeat('x', n % 3000) from generate_series(1, 2000) n`);
    await cluster.stop('SIGQUIT');
    const seen = await recordsOf(source, control.checkpoint);
    const start = segmentStart(must(seen.at(-1)).start);
    const path = join(cluster.walPath, segmentName(1, start));
    const whole = await readFile(path);
    const inside = seen.filter((record) => record.start >= start);
    const first = Number(must(inside[0]).end - start);
    const size = Number(must(inside.at(-1)).end - start) - first;
    for (let i = 0; i < 60; i++) {
      const at = first + 8 * Math.floor((Math.random() * size) / 8);
      const spoiled = Buffer.from(whole);
      const until = i % 3 === 0 ? at + 8 : spoiled.length;
      for (let byte = at; byte < until; byte++) spoiled[byte] = i % 2 ? ~must(whole[byte]) : Math.random() * 256;
      await writeFile(path, spoiled);
      const expected = seen.findLast((record) => record.end <= start + BigInt(at))?.end;
      expect(await findEndOfWalAfterCrash(source, control.checkpoint)).toBe(expected);
      if (until > at + 8) expect(await findEndOfWal(source, control.checkpoint)).toBe(expected);
    }
    await writeFile(path, whole.subarray(0, first + 12));
    expect(await findEndOfWal(source, control.checkpoint)).toBeLessThanOrEqual(start + BigInt(first));
  });
});

async function compareWithWaldump(
  cluster: TestCluster,
  binDir: string,
  from: Lsn,
  seen: readonly Seen[],
): Promise<void> {
  const waldump = join(binDir, 'pg_waldump');
  if (!existsSync(waldump)) return;
  const names = (await readdir(cluster.walPath)).filter((name) => /^[0-9A-F]{24}$/.test(name)).sort();
  const args = ['-s', formatLsn(from), must(names[0]), must(names.at(-1))];
  const { stdout } = await run(waldump, args, { cwd: cluster.walPath, maxBuffer: 2 ** 30 }).catch(
    // It always ends with a complaint about the end of WAL.
    (error: { stdout: string }) => error,
  );
  const dumped = [...stdout.matchAll(/tx: +(\d+), lsn: (\S+), prev/g)].map(([, xid, lsn]) => `${xid} ${must(lsn)}`);
  const padded = (lsn: Lsn): string => formatLsn(lsn).replace(/\/(.*)/, (_, low: string) => `/${low.padStart(8, '0')}`);
  expect(seen.map(({ xid, start }) => `${xid} ${padded(start)}`)).toEqual(dumped);
}
