import { must } from '../support/must.ts';
import type { RunningPlatform } from '../support/start-platform.ts';
import { waitUntil } from '../support/wait-until.ts';
import { HEAD } from './branch-api.ts';
import { randomOf, timeAt, type ChosenMoment, type Subject, type Subjects } from './subjects.ts';
import type { Workload } from './workload.ts';

/** Branches kept as parents of later rounds, leaves last. */
const KEPT_MAX = 5;
const DEPTH_MAX = 4;

export interface RoundsContext {
  readonly platform: RunningPlatform;
  readonly subjects: Subjects;
  /** The branch that the clients write to all the time. */
  readonly root: Subject;
  readonly workload: Workload;
}

type Scenario = (context: RoundsContext, kept: Subject[], round: number) => Promise<void>;

/** Each ends with the compared contents of what it made. The more often listed, the more often drawn. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'branch of the root while it writes': async ({ subjects, root }, kept) =>
    await branchAndMaybeKeep(subjects, root, kept),

  'branch of a child, and of its child': async ({ subjects, root }, kept) => {
    const parent = kept.length > 0 ? randomOf(kept) : await branchAndKeep(subjects, root, kept);
    const child = await branchAndKeep(subjects, parent, kept);
    await branchAndMaybeKeep(subjects, child, kept);
  },

  'branch of a child at a moment before the child began': async ({ subjects, root }, kept) => {
    const parent = kept.length > 0 ? randomOf(kept) : await branchAndKeep(subjects, root, kept);
    const earlier = subjects.chooseMoment(must(parent.line.origin, 'a line with an origin').line, 'time');
    await discard(subjects, await subjects.branch(parent, earlier));
  },

  'branch right after a suspend, and of the past across it': async (context, kept) => {
    const { platform, subjects, root, workload } = context;
    await workload.whilePaused(async () => {
      await platform.api.suspend(root.branch);
      await branchAndMaybeKeep(subjects, root, kept, { at: HEAD, cuts: [] });
    });
    await untilWriting(context);
    await branchAndMaybeKeep(subjects, root, kept);
  },

  'branch of the past after suspend and start': async (context, kept) => {
    const { platform, subjects, root } = context;
    const past = subjects.chooseMoment(root.line, 'lsn');
    // Not `api.suspend`: the clients wake it at once, so that it may never be seen idle.
    await platform.api.call('POST', `/projects/${root.branch.id}/endpoints/${root.branch.endpointId}/suspend`);
    await untilWriting(context);
    await branchAndMaybeKeep(subjects, root, kept, past);
  },

  'branch across kill -9 of Postgres': async (context, kept) => {
    const { platform, subjects, root } = context;
    // By its volume: after a restore that is not named after the branch.
    const isOfRoot = `/volumes/${must(root.line.volume)}/`;
    const compute = await waitUntil('an awake compute', () =>
      platform.computes().find((p) => p.dataPath.includes(isOfRoot)),
    );
    process.kill(compute.pid, 'SIGKILL');
    await branchAndMaybeKeep(subjects, root, kept);
    await untilWriting(context);
    await subjects.expectExact(root, 'the root after kill -9');
    await branchAndMaybeKeep(subjects, root, kept);
  },

  'restore of the root to its past while clients write, restore of that, and undo': async (context, _, round) => {
    const { subjects, root } = context;
    const began = performance.now();
    const name = `before-${round}`;
    const before = await subjects.restore(root, root, pastOf(context), name);
    const backup = await subjects.backup(name, before, began, 1);
    await untilWriting(context);
    if (Math.random() < 0.5) {
      const again = performance.now();
      const second = await subjects.restore(root, root, pastOf(context), `${name}-again`);
      await subjects.backup(`${name}-again`, second, again, 1);
      await untilWriting(context);
    }
    await subjects.restore(root, backup, { at: HEAD, cuts: [] }, `${name}-undone`);
    await untilWriting(context);
    await discard(subjects, await subjects.branch(root, subjects.chooseMoment(root.line)));
  },

  'restore of a child to a moment of the root, and reset from parent': async ({ subjects, root }) => {
    const child = await subjects.branch(root, { at: HEAD, cuts: [] });
    await subjects.grow(child);
    await subjects.restore(child, root, subjects.chooseMoment(root.line, 'lsn'));
    await subjects.grow(child);
    await subjects.restore(child, root, subjects.chooseMoment(root.line, 'time'));
    await subjects.restore(child, root, { at: HEAD, cuts: [] });
    await subjects.grow(child);
    const grandchild = await subjects.branch(child, subjects.chooseMoment(child.line));
    await discard(subjects, grandchild);
    await discard(subjects, child);
  },

  'branch at a time past the last commit': async ({ subjects, root, workload }, kept) => {
    await workload.whilePaused(async () => {
      const last = must(subjects.ledger.commitsOn(root.line).at(-1), 'a commit');
      const ms = Math.ceil(last.clockAfter / 1000) + 5;
      await waitUntil('that time', () => Date.now() > ms);
      await branchAndMaybeKeep(subjects, root, kept, timeAt(ms * 1000));
    });
  },
};

/** Deletes kept branches that are leaves, newest first, until few are left. */
export async function thinOut(subjects: Subjects, kept: Subject[], atMost = KEPT_MAX): Promise<void> {
  while (kept.length > atMost) {
    const leaf = kept.findLastIndex((s) => !kept.some((other) => other.line.origin?.line === s.line));
    const [subject] = kept.splice(leaf, 1);
    await subjects.expectExact(must(subject), 'a kept branch');
    await discard(subjects, must(subject));
  }
}

async function branchAndMaybeKeep(
  subjects: Subjects,
  parent: Subject,
  kept: Subject[],
  moment = subjects.chooseMoment(parent.line),
): Promise<void> {
  const subject = await subjects.branch(parent, moment);
  if (subject.depth < DEPTH_MAX && Math.random() < 0.3) {
    await subjects.grow(subject);
    kept.push(subject);
  } else {
    await discard(subjects, subject);
  }
}

async function branchAndKeep(subjects: Subjects, parent: Subject, kept: Subject[]): Promise<Subject> {
  const subject = await subjects.branch(parent, subjects.chooseMoment(parent.line));
  await subjects.grow(subject);
  await subjects.expectExact(subject, 'a branch that grew');
  kept.push(subject);
  return subject;
}

async function discard(subjects: Subjects, subject: Subject): Promise<void> {
  await subjects.branches.delete(subject.branch.branchId);
}

const pastOf = ({ subjects, root }: RoundsContext): ChosenMoment =>
  subjects.chooseMoment(root.line, randomOf(['lsn', 'time'] as const));

/** Waits for commits on the root's present volume. */
async function untilWriting({ subjects, root }: RoundsContext, more = 16): Promise<void> {
  const before = subjects.ledger.commitsOn(root.line).length;
  await waitUntil('clients that write', () => subjects.ledger.commitsOn(root.line).length >= before + more, 60_000);
}
