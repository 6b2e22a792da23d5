import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findProcessesByCommand } from '../compute/process-table.ts';
import { HostClient } from './host-client.ts';
import { killChild, killChildren, startChild } from './testing/child-host.ts';
import {
  addEndpoint,
  connectTenant,
  makeHost,
  makeStoredBed,
  OWNER_CHANGE,
  specOf,
  type StoredBed,
} from './testing/test-host.ts';

/** The host, or Postgres, is killed while a replica is made, starts and follows; it ends up whole, and the primary too. */
let bed: StoredBed;
let socketPath: string;
const ROUNDS = 4;

beforeAll(async () => {
  bed = await makeStoredBed('auto');
  socketPath = join(bed.directory, 'host.sock');
});

afterAll(async () => {
  await killChildren();
  const host = await makeHost(bed);
  await host.stopAll();
  expect(findProcessesByCommand(`${bed.directory}/run`)).toEqual([]);
  await bed.dispose();
});

test('a kill while a replica is made, starts or follows leaves it whole, or to be made again', async () => {
  let child = await startChild(bed.directory, socketPath, 'auto');
  const client = new HostClient({ socketPath });
  const host = client as never;
  const primary = await addEndpoint(host, 'primary', { catalogChanges: [OWNER_CHANGE] });
  const { projectId, volumeId: source } = primary;
  const writer = await connectTenant(host, primary);
  await writer.query('CREATE TABLE numbers AS SELECT g AS n FROM generate_series(1, 100000) g');
  const pause = async (atMostMs: number): Promise<void> =>
    await new Promise((done) => setTimeout(done, Math.random() * atMostMs));
  for (let round = 1; round <= ROUNDS; round++) {
    const spec = specOf(`r-${round}`, { projectId, type: 'read_only', primaryVolumeId: source });
    const making = client.createReplicaVolume({ volumeId: spec.volumeId, projectId, source });
    await pause(150);
    await killChild(child);
    child = await startChild(bed.directory, socketPath, 'auto');
    await making;
    await client.applySpec(spec);
    const acquiring = client.acquire(spec.endpointId);
    await pause(300);
    if (round % 2 === 1) {
      await killChild(child);
      child = await startChild(bed.directory, socketPath, 'auto');
    } else {
      for (const { identity } of findProcessesByCommand(`/${spec.volumeId}/data `))
        process.kill(identity.pid, 'SIGKILL');
    }
    await acquiring.catch((error: unknown) => expect(error).toMatchObject({ code: 'COMPUTE_START_FAILED' }));
    await writer.query('INSERT INTO numbers SELECT g FROM generate_series(1, 10000) g');
    const { rows: written } = await writer.query('SELECT count(*), sum(n) FROM numbers');
    await client.acquire(spec.endpointId);
    await client.suspend(spec.endpointId);
    // What is there when it is woken is read by the first query.
    const reader = await connectTenant(host, spec);
    expect((await reader.query('SELECT count(*), sum(n) FROM numbers')).rows).toEqual(written);
    await reader.end();
    await client.removeEndpoint(spec.endpointId);
    await client.deleteVolume(spec.volumeId);
  }
  await writer.end();
  await client.suspend(primary.endpointId);
  await killChild(child);
  const { volumes, hostDir } = bed.options;
  await volumes.recover();
  expect(readdirSync(join(hostDir, 'wal'))).toEqual([source]);
  expect(readdirSync(join(hostDir, 'history'))).toEqual([source]);
  expect((await volumes.list()).map(({ volumeId }) => volumeId)).toEqual([source]);
});
