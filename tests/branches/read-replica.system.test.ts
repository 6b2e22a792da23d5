import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Endpoint, EndpointRef, TestProject } from '../support/api.ts';
import { must } from '../support/must.ts';
import { psql, tryPsql } from '../support/psql.ts';
import { runOk } from '../support/run.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { skipWithout } from '../support/tools.ts';
import { withRole } from '../support/uri.ts';
import { waitUntil } from '../support/wait-until.ts';
import { BranchApi } from './branch-api.ts';

const LOAD_SECONDS = 5;
const SUMS = `SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches),
  (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(delta) FROM pgbench_history),
  (SELECT count(*) FROM pgbench_history)`;

/** Neon's type has no lag; it is ours. */
type ReplicaEndpoint = Endpoint & { readonly replica_lag_bytes?: number };

type Replica = EndpointRef & { readonly uri: string };

interface StorageReport {
  readonly volumes: readonly Readonly<
    Record<'kind' | 'id' | 'exclusive_bytes' | 'history_bytes', string | number | null>
  >[];
}

let platform: RunningPlatform;
let project: TestProject;
let replicas: readonly Replica[];
beforeAll(async () => {
  platform = await startPlatform();
  project = await platform.api.createProject({ name: 'replicas' });
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

const volumesCount = (): number => readdirSync(join(platform.dataDir, 'host/wal')).length;

/** A read-only endpoint of the branch, with its URI as the API gives it. */
async function addReplica(): Promise<Replica> {
  const { api } = platform;
  const body = { endpoint: { branch_id: project.branchId, type: 'read_only' } };
  const path = `/projects/${project.id}`;
  const { endpoint } = await api.call<{ endpoint: Endpoint }>('POST', `${path}/endpoints`, body);
  const query = `endpoint_id=${endpoint.id}&database_name=neondb&role_name=neondb_owner`;
  const { uri } = await api.call<{ uri: string }>('GET', `${path}/connection_uri?${query}`);
  return { id: project.id, endpointId: endpoint.id, uri };
}

/** Waits until a query gives on both replicas what it gives on the branch. */
async function expectSame(sql: string): Promise<string> {
  const wanted = await psql(project.uri, sql);
  for (const replica of replicas) {
    await waitUntil(
      'the replica to follow',
      async () => {
        const found = await psql(replica.uri, sql);
        if (found !== wanted) throw new Error(`${found} instead of ${wanted}`);
        return true;
      },
      30_000,
    );
  }
  return wanted;
}

describe('read replicas', () => {
  it('follow the branch, sleep and wake on their own, and take no writes', async () => {
    const { api } = platform;
    const before = volumesCount();
    await psql(project.uri, 'CREATE TABLE t AS SELECT 1 AS n');
    replicas = [await addReplica(), await addReplica()];
    await api.settled(project.id);
    expect(volumesCount()).toBe(before + 2);
    await expectSame('SELECT count(*) FROM t');
    const refused = await tryPsql(must(replicas[0]).uri, 'INSERT INTO t VALUES (2)');
    expect(refused.stderr).toContain('25006');

    // By SQL: the branch's roles are the replica's.
    await psql(
      project.uri,
      `INSERT INTO t VALUES (2); CREATE ROLE late LOGIN PASSWORD 'late-password'; GRANT SELECT ON t TO late`,
    );
    const late = withRole(must(replicas[1]).uri, 'late', 'late-password');
    await waitUntil(
      'the role of SQL to log in',
      async () => (await psql(late, 'SELECT count(*) FROM t')) === '2',
      20_000,
    );

    await api.suspend(project);
    for (const replica of replicas) expect(await psql(replica.uri, 'SELECT count(*) FROM t')).toBe('2');
    for (const replica of replicas) await api.suspend(replica);
    expect(platform.computes()).toEqual([]);
    const from = performance.now();
    expect(await psql(must(replicas[0]).uri, 'SELECT count(*) FROM t')).toBe('2');
    console.log(`a replica woke and answered psql after ${Math.round(performance.now() - from)} ms`);
    expect((await api.endpoint(project)).current_state).toBe('idle');
    await api.updateEndpoint(must(replicas[0]), { suspend_timeout_seconds: 1 });
    await api.untilIdle(must(replicas[0]));
  });

  it('catch up with a load while host and replica are killed, and leave the branch exact', async (context) => {
    skipWithout('pgbench', context);
    const { api } = platform;
    await runOk('pgbench', ['-i', '-q', '-s', '2', project.uri]);
    // The one that is killed must not fall asleep by itself just then.
    await api.updateEndpoint(must(replicas[0]), { suspend_timeout_seconds: -1 });
    await expectSame(SUMS);
    const load = runOk('pgbench', ['-n', '-c', '4', '-T', String(LOAD_SECONDS), project.uri]);
    await waitUntil(
      'a load',
      async () => Number(await psql(project.uri, 'SELECT count(*) FROM pgbench_history')) > 100,
      20_000,
    );
    const compute = platform.computes().find(({ argv }) => !argv.some((arg) => arg.includes(project.branchId)));
    process.kill(must(compute).pid, 'SIGKILL');
    const host = platform.kill('host');
    await platform.untilReplaced('host', host);
    await load;
    const [accounts, branches, tellers, deltas, count] = (await expectSame(SUMS)).split('|');
    console.log(`${count} transactions followed`);
    expect(new Set([accounts, branches, tellers, deltas]).size).toBe(1);
    for (const replica of replicas) {
      const isLevel = async (): Promise<boolean> => {
        await psql(replica.uri, 'SELECT 1');
        return ((await api.endpoint(replica)) as ReplicaEndpoint).replica_lag_bytes === 0;
      };
      await waitUntil('a lag of 0', isLevel, 20_000);
    }
    const metrics = await (
      await fetch(`${platform.origin}/metrics`, { headers: { authorization: `Bearer ${api.key}` } })
    ).text();
    expect(metrics).toContain(`tenantry_replica_lag_bytes{endpoint="${must(replicas[1]).endpointId}"} 0`);
  });

  it('are replaced by a restore of the branch, and go with their endpoints', async () => {
    const { api } = platform;
    const lsn = await psql(project.uri, 'SELECT pg_current_wal_insert_lsn()');
    await psql(project.uri, 'DROP TABLE IF EXISTS pgbench_history; DELETE FROM t');
    await expectSame('SELECT count(*) FROM t');
    await new BranchApi(api, project.id).restore(project.branchId, project.branchId, { kind: 'lsn', lsn }, 'before');
    expect(await expectSame('SELECT count(*) FROM t')).toBe('2');
    await psql(project.uri, 'INSERT INTO t VALUES (3)');
    expect(await expectSame('SELECT count(*) FROM t')).toBe('3');
    const headers = { authorization: `Bearer ${api.key}` };
    const storage = (await (await fetch(`${platform.origin}/status/storage`, { headers })).json()) as StorageReport;
    const shown = storage.volumes.filter(({ kind }) => kind === 'replica');
    expect(new Set(shown.map(({ id }) => id))).toEqual(new Set(replicas.map(({ endpointId }) => endpointId)));
    expect(shown.every(({ history_bytes }) => history_bytes === null)).toBe(true);
    expect(shown.every(({ exclusive_bytes }) => Number(exclusive_bytes) > 0)).toBe(true);
    const before = volumesCount();
    for (const { endpointId } of replicas) await api.call('DELETE', `/projects/${project.id}/endpoints/${endpointId}`);
    await api.settled(project.id);
    expect(volumesCount()).toBe(before - 2);
    expect(await psql(project.uri, 'SELECT count(*) FROM t')).toBe('3');
  });
});
