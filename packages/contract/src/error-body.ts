import { ERROR_CODES, type ErrorCode } from './error-codes.ts';
import { responseObject, Type, type Static } from './schema.ts';

/** The body of every answer that is not a success. */
export const ErrorBody = responseObject('Error', {
  request_id: Type.String({ description: 'As in the header X-Request-ID; the log holds the request under it.' }),
  code: Type.Enum(Object.keys(ERROR_CODES) as ErrorCode[], { description: 'Stable. docs/errors.md explains each.' }),
  message: Type.String({ description: 'For people. May change.' }),
});

export type ErrorBody = Static<typeof ErrorBody>;
