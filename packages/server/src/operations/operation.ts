import type { Kysely, Transaction } from 'kysely';
import type { Log } from '../kernel/log.ts';
import type { Tables } from '../metadata/tables.ts';

/**
 * A durable piece of work: steps that each have one outside effect and may run again at any time. The engine knows no
 * noun; `platform` defines operations and hands them over.
 *
 * @typeParam Input JSON, stored with the operation
 * @typeParam Context what steps are handed by the process that runs the engine (the host, the metadata, ...)
 */
export interface OperationDefinition<Input, Context> {
  readonly kind: string;
  /** Neon's name for it, as clients see it. */
  readonly action: string;
  /** From the first run to the end, retries included; then the operation fails. */
  readonly deadlineMs: number;
  /** Of one run of one step (60 s unless given); then it is aborted and tried again. */
  readonly stepDeadlineMs?: number;
  readonly firstStep: string;
  readonly steps: Readonly<Record<string, OperationStep<Input, Context>>>;
  /**
   * Runs once the operation has failed for good, before its status says so; retried until it succeeds, so it must be
   * idempotent. Undoes what the steps left.
   */
  readonly onFailure?: (context: StepContext<Context>, input: Input, error: OperationFailure) => Promise<void>;
}

export type OperationStep<Input, Context> = (context: StepContext<Context>, input: Input) => Promise<Next>;

export interface StepContext<Context> {
  readonly deps: Context;
  readonly operationId: string;
  /** Of this step (or of `onFailure`), from 1. */
  readonly attempt: number;
  readonly log: Log;
  /** Aborts when the process stops, the lease is lost, or the step's own deadline passes. */
  readonly signal: AbortSignal;
}

/** What a step decides. A thrown error is a retry if it may succeed later, else the end. */
export type Next =
  | { readonly kind: 'goto'; readonly step: string }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'done' }
  | { readonly kind: 'skipped' };

export const goto = (step: string): Next => ({ kind: 'goto', step });
export const wait = (ms: number): Next => ({ kind: 'wait', ms });
export const done: Next = { kind: 'done' };
export const skipped: Next = { kind: 'skipped' };

/** Kept in the row, so that whoever waits gets the failure of another process's work. */
export interface OperationFailure {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface OperationTarget {
  readonly projectId: string;
  readonly branchId?: string;
  readonly endpointId?: string;
  /** Operations that must finish (or be skipped) first; if one fails or is cancelled, this one is cancelled unrun. */
  readonly dependsOn?: readonly string[];
}

export interface OperationOutcome {
  readonly id: string;
  readonly status: 'scheduling' | 'running' | 'finished' | 'failed' | 'cancelled' | 'skipped';
  readonly failure: OperationFailure | null;
}

/** Operations of one project run one after another, in the order of their enqueuing; projects run side by side. */
export interface OperationEngine {
  /** Part of the caller's transaction: rows and operation exist together or not at all. Gives the operation's id. */
  enqueue<Input>(
    tx: Transaction<Tables>,
    definition: OperationDefinition<Input, never>,
    input: Input,
    target: OperationTarget,
  ): Promise<string>;
  /** After the commit: starts due operations without waiting for the poll. Never throws. */
  kick(): void;
  /** Waits until all have ended or `ms` have passed, and gives them as they are then. */
  waitFor(operationIds: readonly string[], ms: number): Promise<readonly OperationOutcome[]>;
  /** Runs due operations until the signal aborts; resolves once the running steps have ended or handed back their lease. */
  run(signal: AbortSignal): Promise<void>;
}

export interface EngineOptions<Context> {
  readonly metadata: Kysely<Tables>;
  readonly definitions: readonly OperationDefinition<never, Context>[];
  readonly deps: Context;
  readonly log: Log;
  readonly tuning?: EngineTuning;
}

export interface EngineTuning {
  /** Operations whose steps run at the same time in this process; 16 unless given. */
  readonly concurrencyMax?: number;
  /** After a crash on another machine, others wait this long; 10 s unless given. */
  readonly leaseMs?: number;
  /** How late an operation starts that nobody kicked; 1 s unless given. */
  readonly pollMs?: number;
}
