import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestProject } from '../support/api.ts';
import { percentile } from '../support/clients.ts';
import { must } from '../support/must.ts';
import { psql } from '../support/psql.ts';
import { smallDisk, type SmallDisk } from '../support/small-disk.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';
import { BranchApi, HEAD, type At } from './branch-api.ts';
import { expectNothingLeft, inventory } from './leftovers.ts';
import { SCENARIOS, thinOut, type RoundsContext } from './rounds.ts';
import { formatLsn, randomOf, Subjects, type Subject } from './subjects.ts';
import { createSchema, Workload } from './workload.ts';

/** Scenarios drawn; each makes one to four branches or restores. 200 for the full proof. */
const ROUNDS = Number(process.env['TENANTRY_BRANCH_ROUNDS'] ?? 9);
/** `reflink`: on an XFS of its own, where a point of a running branch is copied under Postgres' backup API. Root only. */
const STORAGE = process.env['TENANTRY_BRANCH_STORAGE'] === 'reflink' ? 'reflink' : 'auto';
const DISK_MB = 30_000;
const FAILURES_MAX = ROUNDS < 20 ? 2 : 10;

let disk: SmallDisk | undefined;
let platform: RunningPlatform;
let nothing: ReadonlySet<string>;
let project: TestProject;
let context: RoundsContext;
beforeAll(async () => {
  if (STORAGE === 'reflink') disk = await smallDisk(DISK_MB, 'xfs');
  platform = await startPlatform({ storage: STORAGE, ...(disk ? { dataDir: join(disk.path, 'data') } : {}) });
  // The first project makes the template.
  await platform.api.deleteProject((await platform.api.createProject()).id);
  await waitUntil('a deleted project gone', () => platform.computes().length === 0);
  nothing = await inventory(platform);

  // A whole CPU each, so that comparing is not held by a quarter of one.
  const size = { autoscaling_limit_min_cu: 1, autoscaling_limit_max_cu: 1 };
  project = await platform.api.createProject({ name: 'exact', default_endpoint_settings: size });
  await createSchema(project.uri);
  const subjects = new Subjects(new BranchApi(platform.api, project.id));
  const root: Subject = { branch: project, line: {}, depth: 0 };
  await subjects.expectExact(root, 'the empty root');
  const workload = new Workload(project.uri, subjects.ledger, { clients: 8 });
  context = { platform, subjects, root, workload };
  await waitUntil('clients that write', () => subjects.ledger.commitsOn(root.line).length > 100, 60_000);
});
afterAll(async () => {
  await context?.workload.stop();
  await platform?.[Symbol.asyncDispose]();
  await disk?.[Symbol.asyncDispose]();
});

describe('a branch holds exactly what was committed at its moment', () => {
  it(
    `in ${ROUNDS} random rounds of branches and restores`,
    async () => {
      const { subjects, root } = context;
      const kept: Subject[] = [];
      const failures: string[] = [];
      for (let round = 0; round < ROUNDS && failures.length < FAILURES_MAX; round++) {
        const names = Object.keys(SCENARIOS);
        const name = must(round < names.length ? names[round] : randomOf(names));
        const began = performance.now();
        try {
          await must(SCENARIOS[name])(context, kept, round);
          await thinOut(subjects, kept);
        } catch (error) {
          failures.push(`round ${round}, ${name}: ${String(error)}`);
          console.error(failures.at(-1));
        }
        console.log(`round ${round}: ${name}: ${(performance.now() - began).toFixed(0)} ms`);
      }
      await subjects.expectExact(root, 'the root at the end').catch((error: unknown) => failures.push(String(error)));
      await thinOut(subjects, kept, 0).catch((error: unknown) => failures.push(String(error)));
      const { createMs, restoreMs, ledger } = subjects;
      const told = (times: readonly number[]): string =>
        `${times.length}, call to contents ${percentile(times, 0.5).toFixed(0)} ms, p95 ${percentile(times, 0.95).toFixed(0)} ms`;
      console.log(
        `branches: ${told(createMs)}; restores: ${told(restoreMs)}; ${ledger.commitCount} commits; ${context.workload.losses.length} sessions lost`,
      );
      expect(failures).toEqual([]);
    },
    120_000 + ROUNDS * 15_000,
  );

  it('and a moment outside the history is refused, and leaves nothing', async () => {
    const { subjects, root } = context;
    const { branches } = subjects;
    const before = (await branches.list()).length;
    const newest = BigInt(await psql(project.uri, `SELECT pg_current_wal_insert_lsn() - '0/0'`));
    const outside: readonly At[] = [
      { kind: 'time', time: new Date(Date.now() + 60_000).toISOString() },
      { kind: 'time', time: new Date(Date.now() - 86_400_000 * 2).toISOString() },
      { kind: 'time', time: new Date(Date.parse(project.created.project.created_at) - 3_600_000).toISOString() },
      { kind: 'lsn', lsn: formatLsn(newest + 2n ** 32n) },
      { kind: 'lsn', lsn: '0/1' },
    ];
    for (const at of outside) {
      const create = await branches.tryCreate(root.branch.branchId, at);
      expect(create, JSON.stringify(at)).toMatchObject({ status: 400, body: { code: 'MOMENT_OUT_OF_HISTORY' } });
      const restore = await branches.tryRestore(root.branch.branchId, root.branch.branchId, at, 'never');
      expect(restore, JSON.stringify(at)).toMatchObject({ status: 400, body: { code: 'MOMENT_OUT_OF_HISTORY' } });
    }
    for (const lsn of ['', 'x', '0/', '0/123456789', '-1/0']) {
      const refused = await branches.tryCreate(root.branch.branchId, { kind: 'lsn', lsn });
      expect(refused.status, `LSN ${JSON.stringify(lsn)}`).toBe(400);
    }
    expect((await branches.list()).length).toBe(before);
    await subjects.expectExact(root, 'the root, untouched');
  });

  it('and a branch that a restore replaced keeps its id, endpoint and URI', async () => {
    const { subjects, root } = context;
    const child = await subjects.branch(root, { at: HEAD, cuts: [] });
    await subjects.restore(child, root, subjects.chooseMoment(root.line, 'lsn'));
    const now = await subjects.branches.open(child.branch.branchId);
    expect(now).toEqual(child.branch);
    await subjects.branches.delete(child.branch.branchId);
  });

  it('and nothing is left once the project is deleted', async () => {
    await context.workload.stop();
    await platform.api.deleteProject(project.id);
    await expectNothingLeft(platform, nothing);
  });
});
