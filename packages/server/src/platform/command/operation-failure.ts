import { ERROR_CODES, type ErrorCode } from '@tenantry/contract/error-codes.ts';
import { PlatformError } from '../../kernel/errors.ts';
import type { OperationFailure } from '../../operations/operation.ts';

/**
 * For a step: this failure ends the operation at once, although its code says that it may pass. Carries no cause, since
 * the engine looks there for a full disk.
 */
export const toFinalError = (error: PlatformError): PlatformError =>
  new PlatformError('OPERATION_FAILED', error.message, { details: { ...error.details, reason: error.code } });

/** For a command: what its operation failed with, as the failure of the command. */
export function toCommandError(failure: OperationFailure | null): PlatformError {
  const { code, message, details } = failure ?? { code: '', message: 'Cannot finish the operation', details: {} };
  const { reason, ...facts } = details;
  const publicCode = isErrorCode(reason) ? reason : code;
  return new PlatformError(isErrorCode(publicCode) ? publicCode : 'OPERATION_FAILED', message, { details: facts });
}

const isErrorCode = (code: unknown): code is ErrorCode => typeof code === 'string' && Object.hasOwn(ERROR_CODES, code);
