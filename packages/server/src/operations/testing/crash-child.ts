import type { ClientConfig, Pool } from 'pg';
import { pino } from 'pino';
import { sleep } from '../../kernel/wait.ts';
import { openMetadata } from '../../metadata/open-metadata.ts';
import { done, goto, type OperationDefinition } from '../operation.ts';
import { runEngine } from './running-engine.ts';

export interface CrashDeps {
  readonly pool: Pool;
}

export interface CrashInput {
  readonly stepMs: number;
}

/** Two steps, each of which tells the table `step_runs` when it begins and ends. */
export const crashOperation: OperationDefinition<CrashInput, CrashDeps> = {
  kind: 'crash',
  action: 'apply_config',
  deadlineMs: 120_000,
  firstStep: 'first',
  steps: {
    first: async ({ deps, operationId }, { stepMs }) => {
      await runStep(deps.pool, operationId, 'first', stepMs);
      return goto('second');
    },
    second: async ({ deps, operationId }, { stepMs }) => {
      await runStep(deps.pool, operationId, 'second', stepMs);
      return done;
    },
  },
};

async function runStep(pool: Pool, operationId: string, step: string, ms: number): Promise<void> {
  const { rows } = await pool.query<{ id: string }>(
    'insert into step_runs (operation_id, step, pid) values ($1, $2, $3) returning id',
    [operationId, step, process.pid],
  );
  await sleep(ms);
  await pool.query('update step_runs set ended_at = clock_timestamp() where id = $1', [rows[0]?.id]);
}

/** `node crash-child.ts <connection as JSON>`: runs an engine until it is killed. */
if (import.meta.main) {
  const connection = JSON.parse(process.argv[2] ?? '') as ClientConfig;
  const metadata = await openMetadata({ connection, log: pino({ level: 'silent' }) });
  runEngine(metadata, { definitions: [crashOperation], deps: { pool: metadata.pool }, tuning: { pollMs: 50 } });
}
