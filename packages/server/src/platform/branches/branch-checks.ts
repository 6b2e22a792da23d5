import { badField, checkName, isPlainText } from '../checks.ts';
import { PlatformError } from '../../kernel/errors.ts';
import type { MomentRequest } from '../../host/host.ts';
import type { MomentInput } from '../platform.ts';
import { ANNOTATIONS_MAX, TTL_MAX_SECONDS } from './branch-limits.ts';
import type { Expiration } from './branch-changes.ts';
import type { BranchRow } from './branch-rows.ts';

const KEY_MAX = 256;
const VALUE_MAX = 1024;

/** @throws PlatformError INVALID_REQUEST */
export function checkAnnotations(
  annotations: Readonly<Record<string, string>>,
  field: string,
): Readonly<Record<string, string>> {
  const entries = Object.entries(annotations);
  if (entries.length > ANNOTATIONS_MAX) throw badField(field, `at most ${ANNOTATIONS_MAX} entries`);
  for (const [key, value] of entries) {
    checkName(`${field} key`, key);
    if (Array.from(value).length > VALUE_MAX || !isPlainText(value)) {
      throw badField(field, `keys of 1 to ${KEY_MAX} and values of at most ${VALUE_MAX} characters`);
    }
  }
  return annotations;
}

/** @throws PlatformError INVALID_REQUEST */
export function checkExpiration(expiresAt: Date, now: Date): Expiration {
  const ttlSeconds = Math.ceil((expiresAt.getTime() - now.getTime()) / 1000);
  if (!Number.isFinite(ttlSeconds) || ttlSeconds <= 0 || ttlSeconds > TTL_MAX_SECONDS) {
    throw badField('branch.expires_at', `a time in the future, at most ${TTL_MAX_SECONDS / 86_400} days from now`);
  }
  return { expiresAt, ttlSeconds };
}

/**
 * What the host is asked for.
 * @param prefix of the fields in messages, such as `branch.parent_`
 * @throws PlatformError INVALID_REQUEST
 */
export function checkMoment({ lsn, timestamp }: MomentInput, now: Date, prefix: string): MomentRequest {
  if (lsn !== undefined && timestamp !== undefined) {
    throw badField(`${prefix}lsn`, `nothing beside ${prefix}timestamp: give one of both`);
  }
  if (lsn !== undefined) {
    if (!/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/i.test(lsn)) throw badField(`${prefix}lsn`, 'an LSN such as 0/16B3748');
    return { kind: 'lsn', lsn };
  }
  if (timestamp === undefined) return { kind: 'head' };
  const ms = Date.parse(timestamp);
  if (Number.isNaN(ms)) throw badField(`${prefix}timestamp`, 'a time in RFC 3339');
  if (ms > now.getTime()) {
    throw new PlatformError('MOMENT_OUT_OF_HISTORY', `Cannot use ${prefix}timestamp: it is in the future`);
  }
  return { kind: 'time', time: timestamp };
}

/** A branch that others are to be made from, or that is to be changed, must be there and stand still. */
export function checkReady({ name, state }: Pick<BranchRow, 'name' | 'state'>, what: string): void {
  if (state === 'ready') return;
  throw new PlatformError(
    'PROJECT_LOCKED',
    `Cannot ${what}: branch ${JSON.stringify(name)} is not ready yet (${state})`,
  );
}
