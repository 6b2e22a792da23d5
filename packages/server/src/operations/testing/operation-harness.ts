import { strictEqual } from 'node:assert/strict';
import { PlatformError } from '../../kernel/errors.ts';
import type { Metadata } from '../../metadata/open-metadata.ts';
import type {
  Next,
  OperationDefinition,
  OperationEngine,
  OperationFailure,
  OperationOutcome,
  StepContext,
} from '../operation.ts';
import { runEngine, type RunningEngine } from './running-engine.ts';

/** What the harness must know of an operation. `Subject` is what one run is about, such as the new project's ids. */
export interface OperationCase<Context, Subject> {
  readonly kind: string;
  readonly definitions: readonly OperationDefinition<never, Context>[];
  readonly deps: Context;
  /** Sets up a new subject and enqueues the operation for it, as its command does. Called once a run. */
  enqueue(engine: OperationEngine): Promise<{ readonly operationId: string; readonly subject: Subject }>;
  /** Throws unless the operation has had its effect, once. */
  verifyDone(subject: Subject): Promise<void>;
  /** Throws unless the failed operation has left nothing behind. */
  verifyFailed(subject: Subject): Promise<void>;
  /** Of one run; 10 s unless given. */
  readonly endedWithinMs?: number;
}

/** What the test does around a run of a step: number `run` of the operation, from 1. */
type Around = (step: () => Promise<Next>, run: number, context: StepContext<unknown>) => Promise<Next>;
type Definitions<Context> = readonly OperationDefinition<never, Context>[];

/** More steps than any operation has; ends a case whose operation waits for ever. */
const RUNS_MAX = 100;

/**
 * Shows that an operation survives what can happen to it, with a new subject each time:
 * every step run twice; a crash after each step, before its result is stored, resumed by another engine; a final failure
 * before and after each step's effect, `onFailure` itself interrupted after its effect and run again.
 * @throws AssertionError that names the run
 */
export async function checkOperation<Context, Subject>(
  metadata: Metadata,
  operation: OperationCase<Context, Subject>,
): Promise<void> {
  const check = new OperationCheck(metadata, operation);
  const runs = await check.runsOnce();
  await check.everyStepTwice();
  for (let run = 1; run <= runs; run += 1) {
    await check.crashAfter(run);
    await check.failAt(run, 'before');
    await check.failAt(run, 'after');
  }
}

class OperationCheck<Context, Subject> {
  readonly #metadata: Metadata;
  readonly #case: OperationCase<Context, Subject>;

  constructor(metadata: Metadata, operation: OperationCase<Context, Subject>) {
    this.#metadata = metadata;
    this.#case = operation;
  }

  /** Undisturbed. Gives the number of step runs. */
  async runsOnce(): Promise<number> {
    let runs = 0;
    const counted = this.#around((step, run) => {
      runs = run;
      return step();
    });
    await using engine = this.#engine(counted);
    await this.#finish('undisturbed', engine);
    return runs;
  }

  async everyStepTwice(): Promise<void> {
    const twice = this.#around(async (step) => {
      await step();
      return step();
    });
    await using engine = this.#engine(twice);
    await this.#finish('every step twice', engine);
  }

  /** As if the process had died: the step has had its effect, and nobody has heard of it. */
  async crashAfter(run: number): Promise<void> {
    const crash = Promise.withResolvers<void>();
    const crashing = this.#around(async (step, n, { signal }) => {
      const next = await step();
      if (n !== run) return next;
      crash.resolve();
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('crashed')));
      });
    });
    const enqueued = await (async () => {
      await using engine = this.#engine(crashing);
      const operation = await this.#enqueue(engine);
      await Promise.race([crash.promise, engine.ended(operation.operationId)]);
      return operation;
    })();
    await using engine = this.#engine(this.#case.definitions);
    await this.#verify(`crash after run ${run}`, await engine.ended(enqueued.operationId), enqueued.subject);
  }

  async failAt(run: number, when: 'before' | 'after'): Promise<void> {
    const failing = this.#around(async (step, n) => {
      if (n === run && when === 'before') throw FAILURE;
      const next = await step();
      if (n === run) throw FAILURE;
      return next;
    });
    await using engine = this.#engine(this.#interruptOnFailure(failing));
    const { operationId, subject } = await this.#enqueue(engine);
    const { status, failure } = await engine.ended(operationId);
    const name = `${this.#case.kind}: failure ${when} run ${run}`;
    strictEqual(status, 'failed', name);
    strictEqual(failure?.code, FAILURE.code, name);
    await named(name, () => this.#case.verifyFailed(subject));
  }

  #engine(definitions: Definitions<Context>): RunningEngine {
    const { deps, endedWithinMs } = this.#case;
    return runEngine(this.#metadata, { definitions, deps, ...(endedWithinMs !== undefined && { endedWithinMs }) });
  }

  async #enqueue(engine: OperationEngine): ReturnType<OperationCase<Context, Subject>['enqueue']> {
    const enqueued = await this.#case.enqueue(engine);
    engine.kick();
    return enqueued;
  }

  async #finish(name: string, engine: RunningEngine): Promise<void> {
    const { operationId, subject } = await this.#enqueue(engine);
    await this.#verify(name, await engine.ended(operationId), subject);
  }

  async #verify(what: string, { status, failure }: OperationOutcome, subject: Subject): Promise<void> {
    const name = `${this.#case.kind}: ${what}`;
    strictEqual(status, 'finished', `${name}: ${failure?.message ?? status}`);
    await named(name, () => this.#case.verifyDone(subject));
  }

  /** The definitions, with something around each step of the one under test. */
  #around(around: Around): Definitions<Context> {
    let runs = 0;
    return this.#replace((definition) => ({
      ...definition,
      steps: Object.fromEntries(
        Object.entries(definition.steps).map(([name, step]) => [
          name,
          (context: StepContext<Context>, input: never) => {
            runs += 1;
            strictEqual(runs <= RUNS_MAX, true, `${definition.kind} does not end`);
            return around(() => step(context, input), runs, context);
          },
        ]),
      ),
    }));
  }

  #interruptOnFailure(definitions: Definitions<Context>): Definitions<Context> {
    let runs = 0;
    return definitions.map((definition) => {
      const { kind, onFailure } = definition;
      if (kind !== this.#case.kind || !onFailure) return definition;
      return {
        ...definition,
        onFailure: async (context: StepContext<Context>, input: never, failure: OperationFailure) => {
          await onFailure(context, input, failure);
          if ((runs += 1) === 1) throw new Error('interrupted');
        },
      };
    });
  }

  #replace(
    change: (definition: OperationDefinition<never, Context>) => OperationDefinition<never, Context>,
  ): Definitions<Context> {
    return this.#case.definitions.map((d) => (d.kind === this.#case.kind ? change(d) : d));
  }
}

const FAILURE = new PlatformError('CONFLICT', 'Cannot go on: made by the test');

async function named(name: string, verify: () => Promise<void>): Promise<void> {
  try {
    await verify();
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
