import { pino } from 'pino';
import type { Metadata } from '../../metadata/open-metadata.ts';
import { createOperationEngine } from '../engine.ts';
import type {
  EngineTuning,
  OperationDefinition,
  OperationEngine,
  OperationOutcome,
  OperationTarget,
} from '../operation.ts';

export interface RunningEngine extends OperationEngine, AsyncDisposable {
  /** Enqueues in a transaction of its own and kicks. */
  submit<Input>(definition: OperationDefinition<Input, never>, input: Input, target: OperationTarget): Promise<string>;
  /** Throws if it does not end in time. */
  ended(operationId: string): Promise<OperationOutcome>;
}

interface RunningEngineOptions<Context> {
  readonly definitions: readonly OperationDefinition<never, Context>[];
  readonly deps: Context;
  readonly tuning?: EngineTuning;
  /** Of `ended`; 10 s unless given. */
  readonly endedWithinMs?: number;
}

/** For tests: an engine that runs until it is disposed. */
export function runEngine<Context>(
  metadata: Metadata,
  { definitions, deps, tuning, endedWithinMs = 10_000 }: RunningEngineOptions<Context>,
): RunningEngine {
  const log = pino({ level: 'silent' });
  const engine = createOperationEngine({ metadata: metadata.db, definitions, deps, log, ...(tuning && { tuning }) });
  const stop = new AbortController();
  const stopped = engine.run(stop.signal);
  return {
    ...engine,
    submit: async (definition, input, target) => {
      const id = await metadata.db.transaction().execute((tx) => engine.enqueue(tx, definition, input, target));
      engine.kick();
      return id;
    },
    ended: async (operationId) => {
      const [outcome] = await engine.waitFor([operationId], endedWithinMs);
      if (!outcome || outcome.status === 'scheduling' || outcome.status === 'running') {
        throw new Error(`Operation ${operationId} has not ended within ${endedWithinMs} ms: ${outcome?.status}`);
      }
      return outcome;
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await stopped;
    },
  };
}
