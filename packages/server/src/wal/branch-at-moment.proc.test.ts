import { link, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { must } from '../kernel/assert.ts';
import { readControlFile, withRecoveryState } from './control-file.ts';
import { cutSegment } from './cut-segment.ts';
import { findEndOfWal, findLastStart } from './find-end.ts';
import { lastRecordEndAtOrBefore } from './find-moment.ts';
import { parseLsn, type Lsn } from './lsn.ts';
import { nextSegmentStart, segmentName, segmentStart } from './segment-name.ts';
import { engines, TestCluster } from './testing/test-cluster.ts';
import { parseTimelineHistory, timelineOfEnd, timelineOfSegment, type TimelineStart } from './timelines.ts';
import { walkWal } from './wal-reader.ts';
import { walDirectory } from './wal-source.ts';

const FIRST_TIMELINE: readonly TimelineStart[] = [{ timeline: 1, from: 0n }];

/** A numbered row that was committed: its commit record ends after `before`, and at or before `after`. */
interface Committed {
  readonly n: number;
  readonly before: Lsn;
  readonly after: Lsn;
}

/** Commits rows one by one, with the position in WAL before and after each. */
async function commitRows(cluster: TestCluster, first: number, last: number): Promise<Committed[]> {
  const client = await cluster.connect();
  const position = async (): Promise<Lsn> =>
    must(parseLsn((await client.query('select pg_current_wal_insert_lsn() as lsn')).rows[0].lsn as string));
  await client.query('create table if not exists t (n int primary key, filler text)');
  const rows: Committed[] = [];
  for (let n = first; n <= last; n++) {
    const before = await position();
    await client.query(
      "insert into t values ($1, (select string_agg(md5(random()::text), '') from generate_series(1, $2)))",
      [n, Math.floor(Math.random() * 600)],
    );
    rows.push({ n, before, after: await position() });
    if (n % 97 === 0) await client.query('select pg_switch_wal()');
    if (n % 150 === 0) await client.query('checkpoint');
  }
  await client.end();
  return rows;
}

interface Cut {
  readonly source: TestCluster;
  readonly timelines: readonly TimelineStart[];
  readonly end: Lsn;
  readonly consistent: Lsn;
}

/** A clone of the base that is the source as it was at a moment. */
async function branch(base: TestCluster, { source, timelines, end, consistent }: Cut): Promise<TestCluster> {
  const clone = await base.clone();
  const { control, bytes } = await readControlFile(base.dataPath);
  const timeline = timelineOfEnd(timelines, consistent);
  const changed = withRecoveryState(bytes, { minRecoveryPoint: consistent, timeline });
  await writeFile(join(clone.dataPath, 'global/pg_control'), changed);
  for (let at = segmentStart(control.redo); at < end; at = nextSegmentStart(at)) {
    const name = segmentName(timelineOfSegment(timelines, at), at);
    const [from, to] = [join(source.walPath, name), join(clone.walPath, name)];
    const wal = walDirectory(source.walPath, timelines);
    const cut = async (): Promise<void> =>
      await cutSegment(from, to, { from: control.redo, end, lastStart: await findLastStart(wal, end) });
    await (nextSegmentStart(at) <= end ? link(from, to) : cut());
  }
  for (const name of await readdir(source.walPath)) {
    if (name.endsWith('.history')) await link(join(source.walPath, name), join(clone.walPath, name));
  }
  return clone;
}

async function rowsAfterPromotion(clone: TestCluster): Promise<number[]> {
  await clone.startAndPromote();
  const rows = await clone.query<{ n: number }>('select n from t order by n');
  return rows.map(({ n }) => n);
}

describe.each(await engines())('a branch of Postgres $fullVersion ($source)', (engine) => {
  test('has exactly the rows of its moment', { timeout: 240_000 }, async () => {
    await using base = await TestCluster.create(engine);
    await base.start();
    await base.query('create table t (n int primary key, filler text)');
    await base.stop();
    await using source = await base.clone();
    const { control } = await readControlFile(base.dataPath);
    const redoSegment = segmentName(1, control.redo);
    await cutSegment(join(base.walPath, redoSegment), join(source.walPath, redoSegment), {
      from: control.redo,
      end: nextSegmentStart(control.redo),
    });
    await source.takeOwnership();
    await source.start();
    const committed = await commitRows(source, 1, 600);
    const wal = walDirectory(source.walPath, FIRST_TIMELINE);
    const last = await findEndOfWal(wal, control.redo);
    const baseEnd = await endOfRecordAt(wal, control.checkpoint);
    for (let i = 0; i < 8; i++) {
      const at = i === 0 ? last : baseEnd + BigInt(Math.floor(Math.random() * Number(last - baseEnd)));
      const end = must(await lastRecordEndAtOrBefore(wal, at, control.redo));
      await using clone = await branch(base, { source, timelines: FIRST_TIMELINE, end, consistent: baseEnd });
      const rows = await rowsAfterPromotion(clone);
      expect(rows).toEqual(expectedRows(committed, end, rows.length));
      expect(rows).toHaveLength(await commitsWithin(wal, control.redo, end));
    }
  });

  test('of a crashed source has all that was committed, and can be branched itself', async () => {
    await using source = await TestCluster.create(engine);
    await source.start();
    const committed = await commitRows(source, 1, 170);
    await source.query("insert into t select n, repeat('x', 100) from generate_series(1000, 5000) n");
    await source.stop('SIGQUIT');
    const { control } = await readControlFile(source.dataPath);
    expect(control.state).toBe('in production');
    const end = await findEndOfWal(walDirectory(source.walPath, FIRST_TIMELINE), control.redo);
    await using child = await branch(source, { source, timelines: FIRST_TIMELINE, end, consistent: end });
    const rows = await rowsAfterPromotion(child);
    expect(rows).toHaveLength(committed.length + 4001);

    // Its timeline goes on from the parent's: a base on the old one, a moment on the new one.
    const ofChild = await commitRows(child, 10_001, 10_120);
    const history = await readFile(join(child.walPath, '00000002.history'), 'utf8');
    const timelines = parseTimelineHistory(history, 2);
    expect(timelines).toEqual([
      { timeline: 1, from: 0n },
      // The next segment's begin, unless the page that the last record ends on had no room to say so.
      { timeline: 2, from: expect.toBeOneOf([end, nextSegmentStart(end)]) },
    ]);
    const wal = walDirectory(child.walPath, timelines);
    for (let i = 0; i < 4; i++) {
      const moment = must(ofChild[Math.floor(Math.random() * ofChild.length)]);
      const cut = must(await lastRecordEndAtOrBefore(wal, moment.after, control.redo));
      await using grandchild = await branch(source, { source: child, timelines, end: cut, consistent: end });
      expect((await rowsAfterPromotion(grandchild)).filter((n) => n > 10_000)).toEqual(
        ofChild.filter(({ n }) => n <= moment.n).map(({ n }) => n),
      );
    }
    await child.stop();
    const { control: stopped } = await readControlFile(child.dataPath);
    expect(stopped).toMatchObject({ state: 'shut down', timeline: 2 });
    expect(await findEndOfWal(wal, control.redo)).toBe(await endOfRecordAt(wal, stopped.checkpoint));
  });
});

/** Those surely committed, and the one that may be, if there are that many. */
function expectedRows(committed: readonly Committed[], end: Lsn, count: number): number[] {
  const surely = committed.filter(({ after }) => after <= end).length;
  const perhaps = committed.filter(({ before }) => before < end).length;
  expect(count).toBeGreaterThanOrEqual(surely);
  expect(count).toBeLessThanOrEqual(perhaps);
  return committed.slice(0, count).map(({ n }) => n);
}

async function commitsWithin(wal: ReturnType<typeof walDirectory>, from: Lsn, end: Lsn): Promise<number> {
  let commits = 0;
  await walkWal(wal, {
    from,
    checksums: true,
    visit: (record) => {
      if (record.end > end) return 'stop';
      if (record.rmid === 1 && record.xactTimeUs !== undefined) commits++;
      return undefined;
    },
  });
  return commits;
}

async function endOfRecordAt(wal: ReturnType<typeof walDirectory>, start: Lsn): Promise<Lsn> {
  let end = start;
  await walkWal(wal, {
    from: start,
    checksums: true,
    visit: (record) => {
      if (record.start > start) return 'stop';
      end = record.end;
      return undefined;
    },
  });
  return end;
}
