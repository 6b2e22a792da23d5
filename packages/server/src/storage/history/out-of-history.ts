import { PlatformError } from '../../kernel/errors.ts';
import { formatLsn } from '../../wal/lsn.ts';
import type { MomentRequest } from '../volume-store.ts';
import { formatTimeUs } from './time-us.ts';

/** `why` says where the moment lies, or what is missing: `timestamp is before retention window, which begins at ...`. */
export function outOfHistory(at: MomentRequest, why: string): PlatformError {
  const moment = at.kind === 'time' ? formatTimeUs(at.timeUs) : at.kind === 'lsn' ? formatLsn(at.lsn) : 'the head';
  return new PlatformError('MOMENT_OUT_OF_HISTORY', `Cannot go to ${moment}: ${why}`);
}

export const nameOf = (at: MomentRequest): 'timestamp' | 'LSN' => (at.kind === 'lsn' ? 'LSN' : 'timestamp');
