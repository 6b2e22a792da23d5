import { codeOf, isNoSpace, messageOf, PlatformError } from '../kernel/errors.ts';

/** Classes 08 (connection) and 57P (shutdown, crash, starting up), too many connections, idle in transaction. */
const UNAVAILABLE_SQLSTATE = /^(08...|57P0[1235]|53300|25P03)$/;

/** A system error of these calls is the connection's: ECONNREFUSED, ENOENT (no socket file), ENOTFOUND, EPIPE ... */
const NETWORK_SYSCALLS: ReadonlySet<unknown> = new Set(['connect', 'read', 'write', 'getaddrinfo']);

/** What `pg` and its pool throw without any code. */
const UNAVAILABLE_MESSAGE =
  /^(Connection terminated|timeout expired$|Query read timeout|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed)/;

/**
 * A failure of the metadata connection as METADATA_UNAVAILABLE, a full disk as NO_SPACE; anything else as it is.
 */
export function toMetadataError(error: unknown): unknown {
  if (error instanceof PlatformError) return error;
  if (isNoSpace(error)) {
    return new PlatformError('NO_SPACE', 'Cannot store the change: the disk of the metadata database is full', {
      cause: error,
    });
  }
  return isUnavailable(error) ? unavailable(error) : error;
}

/** Of a connect that failed: whatever the database, or what stands before it, has against it, it does not answer. */
export function toConnectError(error: unknown): PlatformError {
  const known = toMetadataError(error);
  return known instanceof PlatformError ? known : unavailable(error);
}

const unavailable = (cause: unknown): PlatformError =>
  new PlatformError('METADATA_UNAVAILABLE', 'Cannot reach the metadata database: retry in a moment', { cause });

function isUnavailable(error: unknown): boolean {
  // A host name with several addresses fails with one error for each.
  if (error instanceof AggregateError) return error.errors.some(isUnavailable);
  if (error instanceof Error && 'syscall' in error) return NETWORK_SYSCALLS.has(error.syscall);
  const code = codeOf(error);
  if (code !== undefined) return UNAVAILABLE_SQLSTATE.test(code);
  return UNAVAILABLE_MESSAGE.test(messageOf(error));
}
