import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findProcessesByCommand } from '../compute/process-table.ts';
import { HostClient } from './host-client.ts';
import type { BranchVolume, EndpointSpec } from './host.ts';
import { killChild, killChildren, startChild } from './testing/child-host.ts';
import {
  addEndpoint,
  connectTenant,
  makeHost,
  makeStoredBed,
  OWNER_CHANGE,
  specOf,
  type StoredBed,
  waitFor,
} from './testing/test-host.ts';

/** The host, or Postgres, is killed while a branch is made and while its WAL is replayed; the next try completes it. */
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

const branchOf = (child: EndpointSpec, source: EndpointSpec): BranchVolume => ({
  volumeId: child.volumeId,
  projectId: child.projectId,
  source: source.volumeId,
  at: { kind: 'head' },
  historyRetentionSeconds: 3600,
});

/** As the gateway does: until the host has noticed the end of a Postgres, its address leads nowhere. */
function unlessDead(error: Error): undefined {
  if (!/ECONNREFUSED|ECONNRESET|EPIPE|ENOENT|Connection terminated unexpectedly/.test(error.message)) throw error;
}

test('a kill while a branch is made or promoted leaves it whole, or to be made again', async () => {
  let child = await startChild(bed.directory, socketPath, 'auto');
  const client = new HostClient({ socketPath });
  const host = client as never;
  const parent = await addEndpoint(host, 'parent', { catalogChanges: [OWNER_CHANGE] });
  const writer = await connectTenant(host, parent);
  await writer.query('CREATE TABLE numbers AS SELECT g AS n FROM generate_series(1, 200000) g');
  for (let round = 1; round <= ROUNDS; round++) {
    await writer.query('INSERT INTO numbers VALUES ($1)', [-round]);
    const spec = specOf(`kill-${round}`, { projectId: parent.projectId });
    const making = client.branchVolume(branchOf(spec, parent));
    await new Promise((r) => setTimeout(r, Math.random() * 150));
    await killChild(child);
    child = await startChild(bed.directory, socketPath, 'auto');
    await making;
    await client.applySpec(spec);
    const acquiring = client.acquire(spec.endpointId);
    await new Promise((r) => setTimeout(r, Math.random() * 300));
    const isHostKilled = round % 2 === 1;
    if (isHostKilled) {
      await killChild(child);
      child = await startChild(bed.directory, socketPath, 'auto');
    } else {
      for (const { identity } of findProcessesByCommand(`/${spec.volumeId}/data `)) {
        process.kill(identity.pid, 'SIGKILL');
      }
    }
    await acquiring.catch((error: unknown) => expect(error).toMatchObject({ code: 'COMPUTE_START_FAILED' }));
    const session = isHostKilled
      ? await connectTenant(host, spec)
      : await waitFor('a session', 20_000, () => connectTenant(host, spec).catch(unlessDead));
    const { rows } = await session.query('SELECT count(*) AS all, min(n) AS least FROM numbers');
    expect(rows).toEqual([{ all: String(200_000 + round), least: -round }]);
    await session.query('INSERT INTO numbers VALUES (0)');
    await session.end();
    expect(findProcessesByCommand(`/${spec.volumeId}/data `).length).toBeGreaterThanOrEqual(1);
    const staging = ['host/pool/staging', 'host/staging'].map((path) => join(bed.directory, path)).filter(existsSync);
    expect(staging.map((path) => readdirSync(path))).toEqual([[]]);
    await client.suspend(spec.endpointId);
    // Its own branches are right too, whatever the kills have left of timelines.
    const grandchild = specOf(`grand-${round}`, { projectId: parent.projectId });
    await client.branchVolume(branchOf(grandchild, spec));
    await client.applySpec(grandchild);
    const inside = await connectTenant(host, grandchild);
    expect((await inside.query('SELECT count(*) AS all FROM numbers')).rows).toEqual([
      { all: String(200_001 + round) },
    ]);
    await inside.end();
  }
  await writer.end();
  client.close();
  await killChild(child);
});
