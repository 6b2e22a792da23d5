import { PlatformError } from '../kernel/errors.ts';

export interface RunDumpOptions {
  readonly args: readonly string[];
  readonly deadlineMs: number;
}

const REASON_MAX_CHARS = 500;

/** A schema that cannot be read, in the words of pg_dump: they are about the tenant's own objects. */
export function dumpFailed(reason: string, cause?: unknown): PlatformError {
  const words = reason.replaceAll(/\s+/g, ' ').trim().slice(-REASON_MAX_CHARS);
  return new PlatformError('INTERNAL', `Cannot read the schema: ${words}`, { cause });
}
