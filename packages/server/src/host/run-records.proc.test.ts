import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RunRecords, type RunRecord } from './run-records.ts';

let directory: string;
let records: RunRecords;
let record: RunRecord;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tenantry-records-'));
  records = new RunRecords(directory);
  const computeId = records.newComputeId();
  mkdirSync(records.directoryOf(computeId).path);
  record = {
    computeId,
    endpointId: 'ep-a',
    volumeId: 'vol-a',
    generation: 1,
    minCu: 1,
    maxCu: 1,
    startedAt: '2026-01-01T00:00:00.000Z',
    settings: { work_mem: '4MB' },
  };
  records.write(record);
});

afterEach(() => rmSync(directory, { recursive: true }));

const pathOf = (name = ''): string => join(records.directoryOf(record.computeId).path, name);

test('a record is replaced and never written over: the one before is whole until the new one is', () => {
  const before = openSync(pathOf('compute.json'), 'r');
  const changed = { ...record, settings: { work_mem: '8MB' } };
  records.write(changed);
  expect(JSON.parse(readFileSync(before, 'utf8'))).toEqual(record);
  closeSync(before);
  expect(records.list()).toEqual([{ computeId: record.computeId, record: changed }]);
  expect(readdirSync(pathOf())).toEqual(['compute.json']);
});

test('a write that was cut off changes nothing, and the next clears it away', async () => {
  writeFileSync(pathOf('compute.json.tmp'), '{"computeId":');
  expect(records.list()).toEqual([{ computeId: record.computeId, record }]);
  records.write(record);
  expect(readdirSync(pathOf())).toEqual(['compute.json']);
  await records.remove(record.computeId);
  expect(records.list()).toEqual([]);
});
