import { setTimeout as delay } from 'node:timers/promises';
import { HEAD, type At, type TestBranch } from '../branches/branch-api.ts';
import type { Cut, Line } from '../branches/ledger.ts';
import { NotExactError, type ChosenMoment, type Subject, type Subjects } from '../branches/subjects.ts';

const DEADLINE_MS = 90_000;
/** Moments are taken from the last seconds, well within the shortest history of a test. */
const RECENT_MS = 20_000;

/**
 * Makes, restores, and deletes branches without end, while processes are killed. An operation that fails is looked at and
 * repeated, as a careful client does; what never comes right, or is not exact, is a failure.
 */
export class BranchJobs {
  readonly failures: string[] = [];
  /** Outcomes of calls: status and code, or the name of the error. */
  readonly answers: Record<string, number> = {};
  done = 0;
  /** Calls that came right. */
  steps = 0;
  readonly #subjects: Subjects;
  readonly #root: Subject;
  readonly #lanes: Promise<void>[];
  #names = 0;
  #stopping = false;

  constructor(subjects: Subjects, root: Subject, lanes: number) {
    this.#subjects = subjects;
    this.#root = root;
    this.#lanes = Array.from({ length: lanes }, async () => await this.#lane());
  }

  /** Lets each job end, so that nothing is left half done. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#lanes);
  }

  async #lane(): Promise<void> {
    while (!this.#stopping && this.failures.length < 5) {
      try {
        await this.#job();
        this.done++;
      } catch (error) {
        this.failures.push(String(error));
      }
    }
  }

  async #job(): Promise<void> {
    const subjects = this.#subjects;
    const subject = await this.#create(this.#root);
    await this.#exact(subject);
    await this.#repeat('grow', async () => await subjects.grow(subject, 4));
    await this.#restore(subject, this.#root);
    await this.#exact(subject);
    await this.#repeat('grow', async () => await subjects.grow(subject, 4));
    await this.#exact(subject);
    await this.#delete(subject.branch.branchId);
  }

  /** A POST whose answer was lost may have made a branch: it is found by its name, and used if it comes up. */
  async #create(parent: Subject): Promise<Subject> {
    const { branches } = this.#subjects;
    const began = performance.now();
    let moment = this.#choose(parent);
    const branch = await this.#repeat('create', async () => {
      const name = `job-${this.#names++}`;
      moment = this.#choose(parent);
      try {
        const answer = await branches.tryCreate(parent.branch.branchId, moment.at, name);
        this.#count(`create ${answer.status} ${answer.body.code ?? ''}`);
        if (answer.status === 201) return await this.#untilReady(answer.body.branch.id);
        throw new Error(`create answered ${answer.status} ${JSON.stringify(answer.body)}`);
      } catch (error) {
        await this.#forget(name);
        throw error;
      }
    });
    const origin = { line: parent.line, cuts: this.#cuts(moment.at, moment.cuts, began) };
    return { branch, line: { origin }, depth: parent.depth + 1 };
  }

  /** A branch whose creation failed must be gone, or go when it is deleted. */
  async #forget(name: string): Promise<void> {
    await this.#repeat('clean up', async () => {
      const left = (await this.#subjects.branches.list()).filter((b) => b.name === name);
      for (const { id } of left) await this.#subjects.branches.delete(id);
    });
  }

  async #untilReady(branchId: string): Promise<TestBranch> {
    return await this.#repeat('ready', async () => {
      const { current_state: state } = await this.#subjects.branches.get(branchId);
      if (state !== 'ready') throw new Error(`branch ${branchId} is ${state}`);
      return await this.#subjects.branches.open(branchId);
    });
  }

  async #restore(target: Subject, source: Subject): Promise<void> {
    const { branches } = this.#subjects;
    const began = performance.now();
    let moment = this.#choose(source);
    await this.#repeat('restore', async () => {
      moment = this.#choose(source);
      const answer = await branches.tryRestore(target.branch.branchId, source.branch.branchId, moment.at);
      this.#count(`restore ${answer.status} ${answer.body.code ?? ''}`);
      if (answer.status !== 200) throw new Error(`restore answered ${answer.status} ${JSON.stringify(answer.body)}`);
      await branches.ended(answer.body.operations);
    });
    const line: Line = { origin: { line: source.line, cuts: this.#cuts(moment.at, moment.cuts, began) } };
    target.line = line;
  }

  async #delete(branchId: string): Promise<void> {
    await this.#repeat('delete', async () => {
      if (!(await this.#subjects.branches.tryDelete(branchId))) throw new Error(`cannot delete ${branchId}`);
    });
  }

  async #exact(subject: Subject): Promise<void> {
    await this.#repeat('connect', async () => await this.#subjects.expectExact(subject, 'a branch of a job'));
  }

  #choose(source: Subject): ChosenMoment {
    return this.#subjects.chooseMoment(source.line, undefined, RECENT_MS);
  }

  #cuts(at: At, cuts: readonly Cut[], began: number): readonly Cut[] {
    return at.kind === HEAD.kind ? [{ kind: 'call', began, ended: performance.now() }] : cuts;
  }

  #count(key: string): void {
    this.answers[key] = (this.answers[key] ?? 0) + 1;
  }

  async #repeat<T>(what: string, work: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + DEADLINE_MS;
    for (;;) {
      try {
        const result = await work();
        this.steps++;
        return result;
      } catch (error) {
        if (error instanceof NotExactError) throw error;
        this.#count(`${what}: ${error instanceof Error ? error.message.slice(0, 60) : 'error'}`);
        if (performance.now() > deadline)
          throw new Error(`${what} did not come right in ${DEADLINE_MS} ms: ${String(error)}`, { cause: error });
        await delay(200);
      }
    }
  }
}
