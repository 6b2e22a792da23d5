import { PlatformError } from '../../kernel/errors.ts';
import type { MomentInput } from '../../platform/platform.ts';
import { defined } from '../defined.ts';

/** A time of a request. @throws PlatformError INVALID_REQUEST for one that no calendar has */
export function toDate(field: string, text: string): Date {
  const date = new Date(text);
  if (!Number.isNaN(date.getTime())) return date;
  throw new PlatformError('INVALID_REQUEST', `Cannot accept ${field}: there is no such time`);
}

/**
 * A moment of a request; undefined: the head.
 * @param fields as the request names them
 * @throws PlatformError INVALID_REQUEST
 */
export function toMomentInput(
  lsn: string | undefined,
  timestamp: string | undefined,
  fields: { readonly lsn: string; readonly timestamp: string },
): MomentInput | undefined {
  if (lsn !== undefined && timestamp !== undefined) {
    throw new PlatformError(
      'INVALID_REQUEST',
      `Cannot accept ${fields.lsn} and ${fields.timestamp} together: give one`,
    );
  }
  if (lsn === undefined && timestamp === undefined) return undefined;
  if (timestamp !== undefined) toDate(fields.timestamp, timestamp);
  return defined({ lsn, timestamp });
}
