import { ERROR_CODES, type ErrorCode, type ErrorKind } from '@tenantry/contract/error-codes.ts';

interface PlatformErrorOptions {
  readonly cause?: unknown;
  /** Public, typed facts beside the message. No secrets, no paths. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A failure with a stable public code. Its message may be shown to the client as it is. */
export class PlatformError extends Error {
  override readonly name = 'PlatformError';
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: PlatformErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  get kind(): ErrorKind {
    return ERROR_CODES[this.code].kind;
  }

  get isRetryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }
}

/** True if the error, or one that caused it, says that a disk is full (ENOSPC, EDQUOT, SQLSTATE 53100). */
export function isNoSpace(error: unknown): boolean {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    const code = (e as Error & { code?: unknown }).code;
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === '53100' || code === 'NO_SPACE') return true;
  }
  return false;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a system error such as ENOENT, or of a Postgres error; undefined if there is none. */
export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as Error & { code?: unknown }).code : undefined;
  return typeof code === 'string' ? code : undefined;
}
