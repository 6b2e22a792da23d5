import { isNoSpace, PlatformError } from '../kernel/errors.ts';
import type { OperationFailure } from './operation.ts';

/** Runs of a step that ends in an error of no known kind, or finds the disk full, before the operation fails. */
export const UNCERTAIN_ATTEMPTS_MAX = 5;

/** What is kept of a thrown error and may be shown to clients. Unknown errors say nothing: the log holds them. */
export function toFailure(error: unknown): OperationFailure {
  if (error instanceof PlatformError) {
    return { code: error.code, message: error.message, details: error.details };
  }
  if (isNoSpace(error)) {
    return { code: 'NO_SPACE', message: 'Cannot finish the operation: the disk is full', details: {} };
  }
  return {
    code: 'INTERNAL',
    message: 'Cannot finish the operation: a fault of Tenantry, which its log holds under the id of the operation',
    details: {},
  };
}

/** Whether a step that threw this at its try number `attempt` runs again (the operation's deadline aside). */
export function mayRetry(error: unknown, attempt: number): boolean {
  // A full disk is retried only briefly, although it may pass: whoever waits is better served by the clear error.
  // INTERNAL is an unknown error too, of another process.
  const isUnknown = !(error instanceof PlatformError) || error.code === 'INTERNAL';
  return isUnknown || isNoSpace(error) ? attempt < UNCERTAIN_ATTEMPTS_MAX : error.isRetryable;
}
