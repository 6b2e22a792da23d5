import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parseControlFile, readControlFile, withRecoveryState } from './control-file.ts';
import { parseLsn } from './lsn.ts';
import { engines, TestCluster } from './testing/test-cluster.ts';

const run = promisify(execFile);

describe.each(await engines())('pg_control of Postgres $fullVersion ($source)', (engine) => {
  test('is read and changed as Postgres would', async () => {
    await using cluster = await TestCluster.create(engine);
    const { control, bytes } = await readControlFile(cluster.dataPath);
    expect(control).toMatchObject({
      state: 'shut down',
      timeline: 1,
      previousTimeline: 1,
      minRecoveryPoint: 0n,
      minRecoveryPointTimeline: 0,
    });
    const changed = withRecoveryState(bytes, { minRecoveryPoint: control.checkpoint + 0x78n, timeline: 1 });
    expect(changed).toHaveLength(8192);
    expect(parseControlFile(changed)).toEqual({
      ...control,
      state: 'shut down in recovery',
      minRecoveryPoint: control.checkpoint + 0x78n,
      minRecoveryPointTimeline: 1,
    });
    await writeFile(join(cluster.dataPath, 'global/pg_control'), changed);
    await cluster.takeOwnership();
    await writeFile(join(cluster.dataPath, 'standby.signal'), '');
    await cluster.start();
    const [row] = await cluster.query(
      `select min_recovery_end_lsn as lsn, min_recovery_end_timeline as timeline, backup_start_lsn as start,
              backup_end_lsn as end, end_of_backup_record_required as required from pg_control_recovery()`,
    );
    expect(row).toMatchObject({ timeline: 1, start: '0/0', end: '0/0', required: false });
    expect(parseLsn((row as { lsn: string }).lsn)).toBe(control.checkpoint + 0x78n);
    await compareWithControlData(dirname(engine.postgresPath), cluster.dataPath);
  });

  test('is refused if it is not whole', async () => {
    await using cluster = await TestCluster.create(engine);
    const bytes = await readFile(join(cluster.dataPath, 'global/pg_control'));
    for (const at of [0, 20, 40, 100, 200]) {
      const spoiled = Buffer.from(bytes);
      spoiled.writeUInt8(spoiled.readUInt8(at) ^ 1, at);
      expect(() => parseControlFile(spoiled)).toThrow('its checksum is wrong');
    }
    expect(() => parseControlFile(bytes.subarray(0, 200))).toThrow('only 200 bytes');
    expect(() => parseControlFile(Buffer.alloc(8192))).toThrow('version 0 is not known');
  });
});

async function compareWithControlData(binDir: string, dataPath: string): Promise<void> {
  const program = join(binDir, 'pg_controldata');
  if (!existsSync(program)) return;
  const { control } = await readControlFile(dataPath);
  const { stdout } = await run(program, [dataPath], { env: { LC_ALL: 'C', TZ: 'UTC' } });
  const value = (name: string): string | undefined => new RegExp(`^${name}: +(.*)$`, 'm').exec(stdout)?.[1];
  expect(value('Database system identifier')).toBe(String(control.systemIdentifier));
  expect(value('pg_control version number')).toBe(String(control.controlVersion));
  expect(value('Database cluster state')).toBe(control.state);
  expect(value("Latest checkpoint's PrevTimeLineID")).toBe(String(control.previousTimeline));
  expect(Date.parse(`${value('Time of latest checkpoint') ?? ''} UTC`)).toBe(control.checkpointTime.getTime());
  expect(parseLsn(value("Latest checkpoint's REDO location") ?? '')).toBe(control.redo);
}
