import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BranchApi } from '../branches/branch-api.ts';
import { expectNothingLeft, inventory } from '../branches/leftovers.ts';
import { randomOf, Subjects, type Subject } from '../branches/subjects.ts';
import { createSchema, Workload } from '../branches/workload.ts';
import { startPlatform, type RunningPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';
import { BranchJobs } from './branch-jobs.ts';

/** Kills of each kind; `TENANTRY_CRASH_ROUNDS=50` for the full proof. */
const ROUNDS = Number(process.env['TENANTRY_CRASH_ROUNDS'] ?? 1);
/** As short as the history may be while branches are made of its last minute. */
const SHORT_RETENTION_SECONDS = 60;

let platform: RunningPlatform;
beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

describe('kill -9 while branches are made, replayed, restored, pruned and deleted', () => {
  it(
    `of control, host, and Postgres of parent and child, ${ROUNDS} times each: every branch is exact, nothing leaks`,
    async () => {
      const { api } = platform;
      await api.deleteProject((await api.createProject()).id);
      await waitUntil('a deleted project gone', () => platform.computes().length === 0);
      const nothing = await inventory(platform);

      const project = await api.createProject({ name: 'crash' });
      await api.call('PATCH', `/projects/${project.id}`, {
        project: { history_retention_seconds: SHORT_RETENTION_SECONDS },
      });
      await createSchema(project.uri);
      const subjects = new Subjects(new BranchApi(api, project.id));
      const root: Subject = { branch: project, line: {}, depth: 0 };
      await subjects.expectExact(root, 'the empty root');
      const workload = new Workload(project.uri, subjects.ledger, { clients: 4 });
      await waitUntil('clients that write', () => subjects.ledger.commitsOn(root.line).length > 50, 60_000);

      const jobs = new BranchJobs(subjects, root, 2);
      const kinds = ['control', 'host', 'parent', 'child'] as const;
      const victims = Array.from({ length: ROUNDS }, () => kinds)
        .flat()
        .sort(() => Math.random() - 0.5);
      for (const victim of victims) {
        // Two calls or so later, and then at any moment of the next.
        const steps = jobs.steps + Math.floor(Math.random() * 4);
        await waitUntil('jobs that go on', () => jobs.steps >= steps || jobs.failures.length > 0, 120_000);
        await delay(Math.random() * 800);
        await kill(victim, root);
        if (jobs.failures.length > 0) break;
      }
      await platform.untilHealthy();
      await jobs.stop();
      await workload.stop();
      console.log(`${victims.length} kills, ${jobs.done} jobs done`, JSON.stringify(jobs.answers, null, 1));
      expect(jobs.failures).toEqual([]);
      expect(jobs.done).toBeGreaterThan(0);
      await subjects.expectExact(root, 'the root at the end');

      // What a lost answer left behind goes like any other branch.
      for (const { id } of (await subjects.branches.list()).filter((b) => b.id !== project.branchId))
        await subjects.branches.delete(id);
      await api.deleteProject(project.id);
      await expectNothingLeft(platform, nothing);
    },
    240_000 + ROUNDS * 60_000,
  );
});

/** Kills one and waits until it is back; a Postgres is back when somebody connects. */
async function kill(victim: 'control' | 'host' | 'parent' | 'child', root: Subject): Promise<void> {
  if (victim === 'control' || victim === 'host') {
    await platform.untilReplaced(victim, platform.kill(victim));
    return;
  }
  const isParent = victim === 'parent';
  const compute = await waitUntil(`a Postgres of a ${victim}`, () => {
    const all = platform.computes().filter((p) => p.dataPath.includes(root.branch.branchId) === isParent);
    return all.length > 0 ? randomOf(all) : undefined;
  });
  try {
    process.kill(compute.pid, 'SIGKILL');
  } catch {
    // it ended by itself
  }
}
