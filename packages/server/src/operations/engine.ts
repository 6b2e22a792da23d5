import { randomUUID } from 'node:crypto';
import { sql, type Transaction } from 'kysely';
import { assert, must } from '../kernel/assert.ts';
import { messageOf } from '../kernel/errors.ts';
import { backoffMs } from '../kernel/wait.ts';
import type { Tables } from '../metadata/tables.ts';
import type { Change } from './decide.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { isKnownDead, newLeaseOwner } from './lease-owner.ts';
import type { EngineOptions, OperationDefinition, OperationEngine, OperationTarget } from './operation.ts';
import { OperationStore, type ClaimedOperation } from './operation-store.ts';
import { OperationWaiters } from './operation-waiters.ts';
import { runOperation } from './run-operation.ts';
import { WakeUp } from './wake-up.ts';

const CONCURRENCY_MAX = 16;
const LEASE_MS = 10_000;
const POLL_MS = 1_000;
const CLAIM_BACKOFF = { firstMs: 100, maxMs: 2_000 };

/** The engine of this process. Any number of processes may run one on the same database. */
export function createOperationEngine<Context>(options: EngineOptions<Context>): OperationEngine {
  const engine = new Engine(options);
  return {
    enqueue,
    kick: () => engine.kick(),
    waitFor: (ids, ms) => engine.waitFor(ids, ms),
    run: (signal) => engine.run(signal),
  };
}

/**
 * Locks the project's queue until the transaction ends, so that `seq` grows in the order of commits: a later number is
 * never seen before an earlier one. Take locks of rows before it, not after it.
 */
async function enqueue<Input>(
  tx: Transaction<Tables>,
  definition: OperationDefinition<Input, never>,
  input: Input,
  target: OperationTarget,
): Promise<string> {
  const id = randomUUID();
  // The lock's row comes before the row that is made of it, and so before its `seq` is drawn.
  await sql`
    with queue as materialized (
      select pg_advisory_xact_lock(hashtextextended('tenantry.operations/' || ${target.projectId}::text, 0))
    )
    insert into operations (id, project_id, branch_id, endpoint_id, kind, action, input, depends_on, step)
    select ${id}::uuid, ${target.projectId}, ${target.branchId ?? null}, ${target.endpointId ?? null},
      ${definition.kind}, ${definition.action}, ${JSON.stringify(input)}::jsonb,
      ${target.dependsOn ?? []}::uuid[], ${definition.firstStep}
    from queue
  `.execute(tx);
  return id;
}

/**
 * The loop: claims due operations as long as there are free places, runs each on its own, and waits for a kick, the end
 * of one, or the poll. A kick only shortens the wait.
 */
class Engine<Context> {
  readonly #options: EngineOptions<Context>;
  readonly #definitions: ReadonlyMap<string, OperationDefinition<never, Context>>;
  readonly #deadlinesMs: ReadonlyMap<string, number>;
  readonly #concurrencyMax: number;
  readonly #leaseMs: number;
  readonly #pollMs: number;
  readonly #store: OperationStore;
  readonly #leases: LeaseKeeper;
  readonly #waiters: OperationWaiters;
  readonly #wakeUp = new WakeUp();
  readonly #running = new Set<Promise<void>>();
  #isRunning = false;

  constructor(options: EngineOptions<Context>) {
    const { definitions, metadata, log, tuning = {} } = options;
    this.#options = options;
    this.#definitions = new Map(definitions.map((d) => [d.kind, d]));
    assert(this.#definitions.size === definitions.length, 'two operations of one kind');
    this.#deadlinesMs = new Map(definitions.map((d) => [d.kind, d.deadlineMs]));
    this.#concurrencyMax = tuning.concurrencyMax ?? CONCURRENCY_MAX;
    this.#leaseMs = tuning.leaseMs ?? LEASE_MS;
    this.#pollMs = tuning.pollMs ?? POLL_MS;
    this.#store = new OperationStore(metadata, newLeaseOwner());
    this.#leases = new LeaseKeeper(this.#store, this.#leaseMs, log);
    this.#waiters = new OperationWaiters((ids) => this.#store.outcomes(ids), this.#pollMs);
  }

  kick(): void {
    this.#wakeUp.now();
  }

  waitFor(ids: readonly string[], ms: number): ReturnType<OperationEngine['waitFor']> {
    return this.#waiters.waitFor(ids, ms);
  }

  async run(signal: AbortSignal): Promise<void> {
    assert(!this.#isRunning, 'an engine runs once at a time');
    this.#isRunning = true;
    const onAbort = (): void => {
      this.#leases.stop(signal.reason);
      this.#wakeUp.now();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#loop(signal);
      await Promise.all(this.#running);
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#isRunning = false;
    }
  }

  async #loop(signal: AbortSignal): Promise<void> {
    let hasTakenOver = false;
    let failures = 0;
    while (!signal.aborted) {
      try {
        if (!hasTakenOver) await this.#store.takeOver(isKnownDead);
        hasTakenOver = true;
        await this.#claim(signal);
        failures = 0;
        await this.#wakeUp.wait(this.#pollMs);
      } catch (error) {
        failures += 1;
        if (failures === 1) this.#options.log.warn({ error: messageOf(error) }, 'operations not claimed, will retry');
        await this.#wakeUp.wait(backoffMs(failures, CLAIM_BACKOFF));
      }
    }
  }

  /** Starts what is due, as far as there are places. */
  async #claim(signal: AbortSignal): Promise<void> {
    const limit = this.#concurrencyMax - this.#running.size;
    if (limit === 0) return;
    const askedAt = performance.now();
    const claimed = await this.#store.claim({
      limit,
      leaseMs: this.#leaseMs,
      deadlinesMs: this.#deadlinesMs,
      except: this.#leases.ids,
    });
    for (const operation of claimed) this.#start(operation, askedAt);
    if (signal.aborted) this.#leases.stop(signal.reason);
  }

  #start(operation: ClaimedOperation, askedAt: number): void {
    const lease = this.#leases.keep(operation.id, askedAt);
    const running = this.#run(operation, lease).finally(() => {
      this.#leases.drop(operation.id);
      this.#running.delete(running);
      // A place is free, and the project's next operation may be due.
      this.#wakeUp.now();
    });
    this.#running.add(running);
  }

  async #run(operation: ClaimedOperation, signal: AbortSignal): Promise<void> {
    const { deps, log } = this.#options;
    const definition = must(this.#definitions.get(operation.kind));
    try {
      const change = await runOperation(operation, { definition, deps, store: this.#store, signal, log });
      if (change) this.#afterwards(operation, change);
      else log.warn({ operation_id: operation.id, kind: operation.kind }, 'operation lease lost');
    } catch (error) {
      log.error({ operation_id: operation.id, kind: operation.kind, err: error }, 'operation engine fault');
    }
  }

  #afterwards({ id, kind, projectId }: ClaimedOperation, change: Change): void {
    if (change.kind === 'end') {
      const { status, failure } = change;
      const level = status === 'failed' ? 'error' : 'info';
      this.#options.log[level]({ operation_id: id, project_id: projectId, kind, status, failure }, 'operation ended');
      this.#waiters.notify({ id, status, failure });
    }
    // Later ones are found by the poll. Timers may fire a millisecond early.
    if ((change.kind === 'wait' || change.kind === 'retry') && change.delayMs < this.#pollMs) {
      setTimeout(() => this.#wakeUp.now(), change.delayMs + 2);
    }
  }
}
