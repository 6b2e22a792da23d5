import { ERROR_CODES, type ErrorKind } from '@tenantry/contract/error-codes.ts';
import type { ErrorBody } from '@tenantry/contract/error-body.ts';
import { isNoSpace, PlatformError } from '../kernel/errors.ts';

/** The one place that knows the HTTP status of an error. */
export const STATUS_OF_KIND = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  locked: 423,
  limit: 422,
  rate_limited: 429,
  unavailable: 503,
  timeout: 504,
  no_space: 507,
  internal: 500,
} as const satisfies Record<ErrorKind, number>;

const RETRY_AFTER_SECONDS = 2;

export interface ErrorResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ErrorBody;
}

/**
 * What a client sees of anything that was thrown: a `PlatformError` as it is, a full disk as such, and of everything
 * else nothing but the request id.
 */
export function toErrorResponse(error: unknown, requestId: string, conflictStatus = 409): ErrorResponse {
  const { code, message, kind, details } = toPlatformError(error);
  const seconds = details['retryAfterSeconds'];
  return {
    status: kind === 'conflict' ? conflictStatus : STATUS_OF_KIND[kind],
    headers: {
      ...(kind === 'unauthenticated' && { 'www-authenticate': 'Bearer' }),
      ...((kind === 'unavailable' || kind === 'rate_limited') && {
        'retry-after': `${typeof seconds === 'number' ? seconds : RETRY_AFTER_SECONDS}`,
      }),
    },
    body: { request_id: requestId, code, message },
  };
}

function toPlatformError(error: unknown): PlatformError {
  if (error instanceof PlatformError && error.code !== 'INTERNAL') return error;
  if (error instanceof Error && isClientFault(error)) return fromFastify(error);
  if (isNoSpace(error)) return new PlatformError('NO_SPACE', ERROR_CODES.NO_SPACE.docs.replace(/\.$/, ''));
  return new PlatformError('INTERNAL', 'Cannot answer: a fault of Tenantry; its log holds it under the request id');
}

/** Fastify's own refusals of requests that it cannot read. */
function isClientFault(error: Error): error is Error & { code: string } {
  const { code, statusCode } = error as Error & { code?: unknown; statusCode?: unknown };
  return (
    typeof code === 'string' &&
    code.startsWith('FST_ERR_') &&
    typeof statusCode === 'number' &&
    statusCode >= 400 &&
    statusCode < 500
  );
}

const FASTIFY_REASONS: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'the body is not valid JSON',
  FST_ERR_CTP_BODY_TOO_LARGE: 'the body is larger than 1 MiB',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'the body must be sent as Content-Type application/json',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'the body is not as long as Content-Length says',
  FST_ERR_BAD_URL: 'the URL holds a broken % escape',
  FST_ERR_MAX_PARAM_LENGTH: 'a part of the path is too long',
};

const fromFastify = (error: Error & { code: string }): PlatformError =>
  new PlatformError('INVALID_REQUEST', `Cannot read the request: ${FASTIFY_REASONS[error.code] ?? 'it is malformed'}`);
