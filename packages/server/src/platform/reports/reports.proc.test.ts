import { expect, test } from 'vitest';
import type { ComputeRun } from '../../host/host.ts';
import { must } from '../../kernel/assert.ts';
import { eventually, testPlatform, type TestPlatform } from '../testing/test-platform.ts';
import { ingestReport } from './ingest-report.ts';
import { reconcile } from './reconcile.ts';

async function newEndpoint(t: TestPlatform) {
  const { project, branch, endpoints, operations } = await t.platform.projects.create(t.principal, {});
  await t.engine.waitFor(
    operations.map((o) => o.id),
    5_000,
  );
  return { projectId: project.id, branchId: branch.id, endpointId: endpoints[0]?.id ?? ('ep-' as const) };
}

const run = (computeId: string, startedAt: string, until: string, cu = 0.25): ComputeRun => ({
  computeId,
  cu,
  startedAt,
  until,
  ended: true,
});

test('usage counts the part of each run that lies in this month, once, whatever comes twice or late', async () => {
  await using t = await testPlatform({ followsReports: false, now: () => new Date('2026-03-10T00:00:00Z') });
  const { projectId, branchId, endpointId } = await newEndpoint(t);
  const runs = [
    run('before', '2026-02-27T00:00:00Z', '2026-02-28T00:00:00Z'),
    run('into', '2026-02-28T23:59:00Z', '2026-03-01T00:01:00Z'),
    run('within', '2026-03-05T10:00:00Z', '2026-03-05T11:00:00Z', 2),
    run('over', '2026-03-31T23:59:30Z', '2026-04-01T00:10:00Z'),
    run('after', '2026-04-02T00:00:00Z', '2026-04-02T00:10:00Z'),
  ];
  const report = { ...t.host.reportOf(endpointId), logicalBytes: 123 };
  const earlier = runs.map((r) => ({ ...r, until: r.startedAt, ended: false }));
  await ingestReport(t.context, { ...report, runs });
  await ingestReport(t.context, { ...report, version: report.version - 1, runs: earlier });
  await ingestReport(t.context, { ...report, version: report.version + 1, runs });

  const { usage } = await t.platform.projects.get(t.principal, projectId);
  expect(usage).toMatchObject({
    periodStart: new Date('2026-03-01T00:00:00Z'),
    periodEnd: new Date('2026-04-01T00:00:00Z'),
    activeTimeSeconds: 60 + 3600 + 30,
    computeTimeSeconds: 15 + 7200 + 7,
    logicalBytes: 123,
  });
  expect((await t.platform.branches.get(t.principal, projectId, branchId)).usage).toEqual(usage);
  expect(t.host.calls.filter((call) => call.startsWith('acknowledgeRuns'))).toContain(
    'acknowledgeRuns before into within over after',
  );
});

test('a clock that was set back makes no negative run', async () => {
  await using t = await testPlatform({ followsReports: false, now: () => new Date('2026-03-10T00:00:00Z') });
  const { projectId, endpointId } = await newEndpoint(t);
  const back = run('back', '2026-03-05T10:00:00Z', '2026-03-05T09:00:00Z');
  await ingestReport(t.context, { ...t.host.reportOf(endpointId), runs: [back] });
  const { usage } = await t.platform.projects.get(t.principal, projectId);
  expect(usage.activeTimeSeconds).toBe(0);
});

test('reports of an endpoint that never was are left alone', async () => {
  await using t = await testPlatform({ followsReports: false });
  const { endpointId } = await newEndpoint(t);
  const report = { ...t.host.reportOf(endpointId), endpointId: 'ep-unknown' as const };
  expect(await ingestReport(t.context, report)).toBe(false);
});

test('an endpoint that a late push has brought back to the host after its deletion goes again', async () => {
  await using t = await testPlatform({ followsReports: false });
  const { projectId, endpointId } = await newEndpoint(t);
  const before = must(t.host.endpoints.get(endpointId));
  await t.platform.projects.delete(t.principal, projectId);
  await eventually(async () => (await t.database.db.selectFrom('endpoints').select('id').execute()).length === 0);
  t.host.endpoints.set(endpointId, before);
  expect(await ingestReport(t.context, t.host.reportOf(endpointId))).toBe(true);
  await eventually(async () => t.host.endpoints.size === 0);
});

test('reports are followed again after the host was away, and nothing is missed', async () => {
  await using t = await testPlatform();
  const { projectId, endpointId } = await newEndpoint(t);
  t.host.setUnavailable(true);
  // The host goes on by itself while control cannot reach it.
  const endpoint = t.host.endpoints.get(endpointId);
  if (endpoint) endpoint.state = 'idle';
  t.host.report(endpointId);
  await eventually(async () => t.host.calls.length > 0);
  t.host.setUnavailable(false);
  await eventually(async () => (await t.platform.endpoints.get(t.principal, projectId, endpointId)).state === 'idle');
});

test('one report that cannot be stored does not hold up the others', async () => {
  await using t = await testPlatform();
  const bad = await newEndpoint(t);
  const good = await newEndpoint(t);
  const compute = t.host.endpoints.get(bad.endpointId);
  compute?.roles.set('broken', 'not a verifier');
  t.host.report(bad.endpointId);
  await t.platform.endpoints.suspend(t.principal, good.projectId, good.endpointId);
  // The answer waits only a moment for the report, which a busy machine may store later.
  const stateOf = async () => (await t.platform.endpoints.get(t.principal, good.projectId, good.endpointId)).state;
  await eventually(async () => (await stateOf()) === 'idle');
});

test('reconcile pushes what the host has missed, and nothing else', async () => {
  await using t = await testPlatform();
  const missed = await newEndpoint(t);
  const known = await newEndpoint(t);
  const isCurrent = async (): Promise<boolean> => {
    const rows = await t.database.db
      .selectFrom('endpoints')
      .select(['id'])
      .whereRef('reported_generation', '=', 'generation')
      .execute();
    return rows.length === 2;
  };
  await eventually(isCurrent);
  await t.database.db
    .updateTable('endpoints')
    .set({ generation: 50, suspend_timeout_seconds: 77 })
    .where('id', '=', missed.endpointId)
    .execute();
  t.host.calls.length = 0;
  await reconcile(t.context, new AbortController().signal);
  expect(t.host.calls.filter((call) => call.startsWith('applySpec'))).toEqual([`applySpec ${missed.endpointId}`]);
  expect(t.host.endpoints.get(missed.endpointId)?.spec).toMatchObject({ generation: 50, suspendTimeoutSeconds: 77 });
  expect(t.host.endpoints.get(known.endpointId)?.spec.suspendTimeoutSeconds).toBe(300);
});

test("commands of all kinds and reports, all at once, do not get in each other's way", async () => {
  await using t = await testPlatform({ settings: { answerWaitMs: 10_000 }, followsReports: false });
  const { projectId, branchId, endpointId } = await newEndpoint(t);
  const { endpoints, roles, databases, projects } = t.platform;
  const ids = [projectId, branchId] as const;
  const report = t.host.reportOf(endpointId);
  const failures: unknown[] = [];
  for (let round = 1; round <= 5; round += 1) {
    const outcomes = await Promise.allSettled([
      ...[1, 2, 3].map((n) => ingestReport(t.context, { ...report, version: report.version + round * 10 + n })),
      endpoints.update(t.principal, projectId, endpointId, { suspendTimeoutSeconds: 60 + round }),
      endpoints.start(t.principal, projectId, endpointId),
      roles.create(t.principal, ...ids, { name: `r${round}` }),
      roles.resetPassword(t.principal, ...ids, 'neondb_owner'),
      databases.create(t.principal, ...ids, { name: `d${round}`, ownerName: 'neondb_owner' }),
      projects.update(t.principal, projectId, { defaultEndpointSettings: { suspendTimeoutSeconds: 100 + round } }),
      projects.update(t.principal, projectId, { settings: { allowedIps: { ips: [`10.0.0.${round}`] } } }),
    ]);
    failures.push(...outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason as unknown] : [])));
  }
  expect(failures).toEqual([]);
  expect(await roles.list(t.principal, ...ids)).toHaveLength(6);
  expect(await databases.list(t.principal, ...ids)).toHaveLength(6);
  expect(t.host.endpoints.get(endpointId)?.spec.suspendTimeoutSeconds).toBe(65);
});
