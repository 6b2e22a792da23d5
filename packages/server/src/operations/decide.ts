import { unreachable } from '../kernel/assert.ts';
import { PlatformError } from '../kernel/errors.ts';
import { backoffMs } from '../kernel/wait.ts';
import { mayRetry, toFailure } from './failure.ts';
import type { Next, OperationFailure } from './operation.ts';

/** How one run of a step, or of `onFailure`, ended. */
export type Outcome =
  | { readonly kind: 'next'; readonly next: Next }
  | { readonly kind: 'threw'; readonly error: unknown }
  /** `onFailure` has succeeded. */
  | { readonly kind: 'cleaned' }
  /** The process stops or has lost the lease. */
  | { readonly kind: 'stopped' };

/** What is written to the row; `step` and `failing` keep the lease and go on, the others give it back. */
export type Change =
  | { readonly kind: 'step'; readonly step: string }
  | { readonly kind: 'failing'; readonly failure: OperationFailure }
  | { readonly kind: 'wait'; readonly delayMs: number }
  | {
      readonly kind: 'retry';
      readonly delayMs: number;
      /** Null keeps the failure that the row has. */
      readonly failure: OperationFailure | null;
    }
  | { readonly kind: 'release' }
  | {
      readonly kind: 'end';
      readonly status: 'finished' | 'skipped' | 'failed' | 'cancelled';
      readonly failure: OperationFailure | null;
    };

/** What the decision depends on. */
export interface Situation {
  readonly status: 'running' | 'failing';
  readonly attempt: number;
  /** Of the last failed try, or the reason of `failing`. */
  readonly failure: OperationFailure | null;
  readonly dependencyFailed: boolean;
  /** Until the operation's deadline; may be negative. */
  readonly remainingMs: number;
  readonly deadlineMs: number;
  readonly hasOnFailure: boolean;
}

const STEP_BACKOFF = { firstMs: 100, maxMs: 5_000 };
const ON_FAILURE_BACKOFF = { firstMs: 100, maxMs: 30_000 };

/** What to do with a claimed operation before any step runs: undefined to run. */
export function decideAtClaim(situation: Situation): Change | undefined {
  if (situation.status === 'failing') return undefined;
  if (situation.dependencyFailed) return { kind: 'end', status: 'cancelled', failure: null };
  return situation.remainingMs <= 0 ? fail(situation, overdue(situation)) : undefined;
}

/** The transition table of `OPERATION.spec.md`: what follows from how a run ended. Pure but for the jitter. */
export function decide(situation: Situation, outcome: Outcome): Change {
  switch (outcome.kind) {
    case 'stopped':
      return { kind: 'release' };
    case 'cleaned':
      return { kind: 'end', status: 'failed', failure: situation.failure };
    case 'next':
      return afterNext(situation, outcome.next);
    case 'threw':
      return afterError(situation, outcome.error);
    default:
      return unreachable(outcome);
  }
}

function afterNext(situation: Situation, next: Next): Change {
  switch (next.kind) {
    case 'goto':
      return { kind: 'step', step: next.step };
    case 'done':
      return { kind: 'end', status: 'finished', failure: null };
    case 'skipped':
      return { kind: 'end', status: 'skipped', failure: null };
    case 'wait':
      return situation.remainingMs <= 0
        ? fail(situation, overdue(situation))
        : { kind: 'wait', delayMs: Math.min(next.ms, situation.remainingMs) };
    default:
      return unreachable(next);
  }
}

function afterError(situation: Situation, error: unknown): Change {
  const { status, attempt, remainingMs } = situation;
  if (status === 'failing') return { kind: 'retry', delayMs: backoffMs(attempt, ON_FAILURE_BACKOFF), failure: null };
  const failure = toFailure(error);
  if (!mayRetry(error, attempt)) return fail(situation, failure);
  if (remainingMs <= 0) return fail(situation, overdue({ ...situation, failure }));
  return { kind: 'retry', delayMs: Math.min(backoffMs(attempt, STEP_BACKOFF), remainingMs), failure };
}

function fail({ hasOnFailure }: Situation, failure: OperationFailure): Change {
  return hasOnFailure ? { kind: 'failing', failure } : { kind: 'end', status: 'failed', failure };
}

function overdue({ deadlineMs, failure }: Situation): OperationFailure {
  const reason = failure ? `. Last failure: ${failure.message}` : '';
  return toFailure(
    new PlatformError('DEADLINE_EXCEEDED', `Cannot finish the operation within ${deadlineMs / 1000} s${reason}`, {
      details: failure ? { lastFailure: failure } : {},
    }),
  );
}
