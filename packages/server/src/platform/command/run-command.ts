import { PlatformError } from '../../kernel/errors.ts';
import type { OperationDefinition, OperationOutcome, OperationTarget } from '../../operations/operation.ts';
import { listOperationsByIds } from '../../operations/operation-rows.ts';
import type { PlatformContext } from '../context.ts';
import { toOperation } from '../operations/to-operation.ts';
import type { Operation } from '../platform.ts';
import { toCommandError } from './operation-failure.ts';
import { transact, type Work } from './transact.ts';

/** The transaction of a command: rows and operations exist together or not at all. */
export interface Command extends Work {
  /** The answer does not wait for an operation in the background. */
  readonly enqueue: <Input>(
    definition: OperationDefinition<Input, never>,
    input: Input,
    target: OperationTarget,
    options?: { readonly inBackground: boolean },
  ) => Promise<string>;
}

/**
 * Runs a command's transaction, starts its operations, and waits up to `waitMs` (`answerWaitMs`) for them to end.
 * @throws PlatformError what an operation failed with within that time
 */
export async function runCommand<T>(
  context: PlatformContext,
  work: (command: Command) => Promise<T>,
  waitMs = context.settings.answerWaitMs,
): Promise<{ readonly value: T; readonly operations: readonly Operation[] }> {
  const { engine } = context;
  const operationIds: string[] = [];
  const awaitedIds: string[] = [];
  const withOperations = (transaction: Work): Promise<T> =>
    work({
      ...transaction,
      enqueue: async (definition, input, target, { inBackground } = { inBackground: false }) => {
        const id = await engine.enqueue(transaction.tx, definition, input, target);
        operationIds.push(id);
        if (!inBackground) awaitedIds.push(id);
        return id;
      },
    });
  const value = await transact(context, withOperations, () => engine.kick());
  if (operationIds.length === 0) return { value, operations: [] };
  await awaitOperations(context, awaitedIds, waitMs);
  return { value, operations: (await listOperationsByIds(context.metadata, operationIds)).map(toOperation) };
}

/** @throws PlatformError what one of them has failed with */
export async function awaitOperations(
  { engine }: PlatformContext,
  operationIds: readonly string[],
  waitMs: number,
): Promise<void> {
  if (operationIds.length === 0) return;
  for (const outcome of await engine.waitFor(operationIds, waitMs)) throwIfFailed(outcome);
}

function throwIfFailed({ status, failure }: OperationOutcome): void {
  if (status === 'failed') throw toCommandError(failure);
  if (status === 'cancelled') {
    throw new PlatformError('OPERATION_FAILED', 'Cannot finish the operation: it was cancelled');
  }
}
