import type { TestBranch, BranchApi, At } from './branch-api.ts';
import { Ledger, type Commit, type Cut, type Line } from './ledger.ts';
import { readContents, Workload } from './workload.ts';

/** A branch under test, and what it must hold. */
export interface Subject {
  readonly branch: TestBranch;
  /** Its present contents; another after a restore. */
  line: Line;
  readonly depth: number;
}

export interface ChosenMoment {
  readonly at: At;
  /** The same as limits; empty for the head, whose limit is the call itself. */
  readonly cuts: readonly Cut[];
}

export const randomOf = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T;

export const formatLsn = (lsn: bigint): string =>
  `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffff_ffffn).toString(16).toUpperCase()}`;

function parseLsn(text: string): bigint {
  const [high = '', low = ''] = text.split('/');
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

/** A branch that does not hold what it must; no repetition makes that good. */
export class NotExactError extends Error {
  override readonly name = 'NotExactError';
}

/** The subjects of one test and the ledger of all that was written to any of them. */
export class Subjects {
  readonly ledger = new Ledger();
  readonly branches: BranchApi;
  /** From the call to the contents read, of every branch made. */
  readonly createMs: number[] = [];
  /** The same of every restore. */
  readonly restoreMs: number[] = [];

  constructor(branches: BranchApi) {
    this.branches = branches;
  }

  /** Makes a branch and compares it. @throws Error with every mistake */
  async branch(parent: Subject, moment: ChosenMoment, name?: string): Promise<Subject> {
    const began = performance.now();
    const branch = await this.branches.create(parent.branch.branchId, moment.at, name);
    const cuts = cutsOf(moment, began);
    const subject: Subject = { branch, line: { origin: { line: parent.line, cuts } }, depth: parent.depth + 1 };
    await this.expectExact(subject, `branch ${describe(moment)}`);
    this.createMs.push(performance.now() - began);
    await this.#expectReportedLsn(subject);
    return subject;
  }

  /** Restores a branch in place and compares it; gives the line that it held before. */
  async restore(target: Subject, source: Subject, moment: ChosenMoment, preserveUnderName?: string): Promise<Line> {
    const began = performance.now();
    const { branchId } = target.branch;
    await this.branches.restore(branchId, source.branch.branchId, moment.at, preserveUnderName);
    const before = target.line;
    target.line = { origin: { line: source.line, cuts: cutsOf(moment, began) } };
    await this.expectExact(target, `restore ${describe(moment)}`);
    this.restoreMs.push(performance.now() - began);
    return before;
  }

  /** The branch that keeps the state before a restore. */
  async backup(name: string, before: Line, restoreBegan: number, depth: number): Promise<Subject> {
    const found = (await this.branches.list()).find((b) => b.name === name);
    if (!found) throw new Error(`No branch is named ${name}`);
    const branch = await this.branches.open(found.id);
    const { volume } = await readContents(branch.uri);
    const cuts: Cut[] = [{ kind: 'call', began: restoreBegan, ended: performance.now() }];
    const line = volume === before.volume ? before : { origin: { line: before, cuts } };
    const subject: Subject = { branch, line, depth };
    await this.expectExact(subject, `backup ${name}`);
    return subject;
  }

  /** @throws NotExactError with every mistake */
  async expectExact(subject: Subject, what: string): Promise<void> {
    const began = performance.now();
    const contents = await readContents(subject.branch.uri);
    const ended = performance.now();
    const { line } = subject;
    const mistakes = [...contents.faults];
    line.volume ??= contents.volume;
    if (line.volume !== contents.volume) mistakes.push(`volume ${contents.volume}, not ${line.volume}`);
    mistakes.push(...this.ledger.mistakes(line, [{ kind: 'call', began, ended }], contents.sessions));
    if (mistakes.length > 0)
      throw new NotExactError(
        `${what} (${subject.branch.branchId}, depth ${subject.depth}) is not exact:\n${mistakes.join('\n')}`,
      );
  }

  /** A few commits of its own. */
  async grow(subject: Subject, perClient = 8): Promise<void> {
    const workload = new Workload(subject.branch.uri, this.ledger, { clients: 2, pauseMs: 1, perClient });
    await workload.done();
  }

  /** A moment of the past of a line, mostly beside a commit, where a mistake would show. */
  chooseMoment(
    line: Line,
    kind = randomOf(['head', 'lsn', 'time'] as const),
    withinMs = Number.POSITIVE_INFINITY,
  ): ChosenMoment {
    const since = performance.now() - withinMs;
    // The last few are left out, so that the moment lies before the end of the WAL.
    const commits = this.ledger
      .commitsOn(line)
      .slice(0, -4)
      .filter((c) => c.doneAt > since);
    if (kind === 'head' || commits.length === 0) return { at: { kind: 'head' }, cuts: [] };
    const commit = randomOf(Math.random() < 0.4 ? commits.slice(-50) : commits);
    return kind === 'lsn' ? lsnBeside(commit) : timeBeside(commit);
  }

  /** The moment that a branch says it began at must mean the same as the one that was asked for. */
  async #expectReportedLsn(subject: Subject): Promise<void> {
    const { parent_lsn: lsn } = await this.branches.get(subject.branch.branchId);
    const { line } = subject;
    if (lsn === undefined || !line.origin) throw new Error(`Branch ${subject.branch.branchId} reports no parent_lsn`);
    const reported: Cut = { kind: 'lsn', lsn: parseLsn(lsn) };
    const exact: Line = { ...line, origin: { line: line.origin.line, cuts: [...line.origin.cuts, reported] } };
    await this.expectExact({ ...subject, line: exact }, `branch at its parent_lsn ${lsn}`);
  }
}

const cutsOf = ({ cuts }: ChosenMoment, began: number): readonly Cut[] =>
  cuts.length > 0 ? cuts : [{ kind: 'call', began, ended: performance.now() }];

function lsnBeside(commit: Commit): ChosenMoment {
  const lsn = commit.lsnBefore + BigInt(randomOf([0, 1, 8, 34, 48, Math.floor(Math.random() * 400)]));
  return { at: { kind: 'lsn', lsn: formatLsn(lsn) }, cuts: [{ kind: 'lsn', lsn }] };
}

function timeBeside(commit: Required<Commit>): ChosenMoment {
  const us = randomOf([commit.clockBefore, commit.clockAfter]) + randomOf([-1000, -1, 0, 1, 1000]);
  return timeAt(us);
}

export function timeAt(us: number): ChosenMoment {
  const time = new Date(us / 1000).toISOString().replace('Z', `${String(us % 1000).padStart(3, '0')}Z`);
  return { at: { kind: 'time', time }, cuts: [{ kind: 'time', us }] };
}

const describe = ({ at }: ChosenMoment): string =>
  at.kind === 'head' ? 'at head' : at.kind === 'lsn' ? `at ${at.lsn}` : `at ${at.time}`;
