import { codeOf } from '../kernel/errors.ts';
import { must } from '../kernel/assert.ts';
import type { Log } from '../kernel/log.ts';
import { backoffMs, sleep } from '../kernel/wait.ts';
import { decide, decideAtClaim, type Change, type Outcome, type Situation } from './decide.ts';
import type { Next, OperationDefinition, OperationFailure } from './operation.ts';
import type { ClaimedOperation, OperationStore } from './operation-store.ts';
import { runBounded } from './run-bounded.ts';

interface RunOptions<Context> {
  readonly definition: OperationDefinition<never, Context>;
  readonly deps: Context;
  readonly store: OperationStore;
  /** Aborts when the lease may be lost or the process stops. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

const STEP_DEADLINE_MS = 60_000;
/** Handing back a lease while the process stops. */
const RELEASE_TRIES_MAX = 3;
const WRITE_BACKOFF = { firstMs: 50, maxMs: 1_000 };

/**
 * Runs the steps of a claimed operation, one after another, until it ends or gives its lease back; every step's name is
 * stored before it runs. Gives the change that was written last, or undefined if the lease was lost.
 */
export async function runOperation<Context>(
  claimed: ClaimedOperation,
  options: RunOptions<Context>,
): Promise<Change | undefined> {
  const claimedAt = performance.now();
  let operation = claimed;
  for (;;) {
    const change =
      decideAtClaim(situationOf(operation, claimedAt, options)) ?? (await runAndDecide(operation, claimedAt, options));
    if (!(await write(operation.id, change, options))) return undefined;
    const next = afterChange(operation, change);
    if (!next) return change;
    operation = next;
  }
}

/** The operation as it goes on under the same lease; undefined if the change gave it back. */
function afterChange(operation: ClaimedOperation, change: Change): ClaimedOperation | undefined {
  if (change.kind === 'step') return { ...operation, step: change.step, attempt: 1, failure: null };
  if (change.kind === 'failing') return { ...operation, status: 'failing', attempt: 1, failure: change.failure };
  return undefined;
}

async function runAndDecide<Context>(
  operation: ClaimedOperation,
  claimedAt: number,
  options: RunOptions<Context>,
): Promise<Change> {
  const { remainingMs } = situationOf(operation, claimedAt, options);
  const outcome: Outcome = options.signal.aborted
    ? { kind: 'stopped' }
    : await runOnce(operation, remainingMs, options);
  return decide(situationOf(operation, claimedAt, options), outcome);
}

function situationOf<Context>(
  operation: ClaimedOperation,
  claimedAt: number,
  { definition }: RunOptions<Context>,
): Situation {
  return {
    ...operation,
    remainingMs: operation.remainingMs - (performance.now() - claimedAt),
    deadlineMs: definition.deadlineMs,
    hasOnFailure: definition.onFailure !== undefined,
  };
}

/** One run of the step, or of `onFailure`. */
async function runOnce<Context>(
  operation: ClaimedOperation,
  remainingMs: number,
  { definition, deps, signal, log: parentLog }: RunOptions<Context>,
): Promise<Outcome> {
  const { id, kind, projectId, step, status, attempt } = operation;
  const name = status === 'failing' ? 'onFailure' : step;
  const log = parentLog.child({ operation_id: id, project_id: projectId, kind, step: name, attempt });
  const stepDeadlineMs = definition.stepDeadlineMs ?? STEP_DEADLINE_MS;
  // Only `definition` knows the type of its input, which it stored itself.
  const input = operation.input as never;
  const context = { deps, operationId: id, attempt, log };
  if (status === 'failing') {
    const failure = must<OperationFailure>(operation.failure);
    const clean = async (signal: AbortSignal) => definition.onFailure?.({ ...context, signal }, input, failure);
    const result = await runBounded(clean, { deadlineMs: stepDeadlineMs, signal, log });
    if (result.kind === 'returned') return { kind: 'cleaned' };
    if (result.kind === 'threw') log.error({ err: result.error }, 'operation not cleaned up, will retry');
    return result;
  }
  const work = async (signal: AbortSignal): Promise<Next> => {
    const run = must(definition.steps[step], `operation ${kind} has no step ${step}`);
    const next = await run({ ...context, signal }, input);
    if (next.kind === 'goto') must(definition.steps[next.step], `operation ${kind} has no step ${next.step}`);
    return next;
  };
  const result = await runBounded(work, { deadlineMs: Math.min(stepDeadlineMs, remainingMs), signal, log });
  if (result.kind === 'returned') return { kind: 'next', next: result.value };
  if (result.kind === 'threw') log.warn({ err: result.error }, 'operation step failed');
  return result;
}

/** Writes the change as often as it takes while the lease is held; false if it is not, or nobody knows. */
async function write<Context>(
  id: string,
  change: Change,
  { store, signal, log }: RunOptions<Context>,
): Promise<boolean> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await store.apply(id, change);
    } catch (error) {
      const mayRetry = codeOf(error) === 'METADATA_UNAVAILABLE' && (!signal.aborted || attempt < RELEASE_TRIES_MAX);
      if (!mayRetry) {
        log.warn({ operation_id: id, err: error }, 'operation not written; its lease will end');
        return false;
      }
      await sleep(backoffMs(attempt, WRITE_BACKOFF));
    }
  }
}
