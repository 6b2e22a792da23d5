/**
 * Every error that Tenantry shows to a client, by its stable public code.
 *
 * `kind` decides the HTTP status (`api/error-response.ts`) and the SQLSTATE (`gateway/error-response.ts`);
 * the text of `docs` becomes `docs/errors.md`, and a test holds the two equal.
 */
export const ERROR_KINDS = [
  'invalid',
  'unauthenticated',
  'forbidden',
  'not_found',
  'conflict',
  'locked',
  'limit',
  'rate_limited',
  'unavailable',
  'timeout',
  'no_space',
  'internal',
] as const;

export type ErrorKind = (typeof ERROR_KINDS)[number];

interface ErrorCodeEntry {
  readonly kind: ErrorKind;
  /** May the same call succeed later, unchanged? */
  readonly retryable: boolean;
  readonly docs: string;
}

const entry = (kind: ErrorKind, docs: string, retryable = false): ErrorCodeEntry => ({ kind, docs, retryable });

export const ERROR_CODES = {
  INVALID_REQUEST: entry(
    'invalid',
    'A field is missing, unknown, of the wrong type, or out of its bounds. The message names it.',
  ),
  UNKNOWN_PG_VERSION: entry('invalid', 'The Postgres version is not one that Tenantry can run.'),
  ENGINE_NOT_INSTALLED: entry(
    'invalid',
    'The Postgres version is supported but not installed on this machine. The message names the command that installs it.',
  ),
  RESERVED_NAME: entry('invalid', 'The role or database name is reserved for Postgres or for the platform.'),
  CATALOG_CHANGE_REFUSED: entry(
    'invalid',
    'Postgres refused to create, change or drop the role or database. The message holds its words.',
  ),
  MOMENT_OUT_OF_HISTORY: entry(
    'invalid',
    'The LSN or time is before the history that the project keeps, before the branch began, or in the future.',
  ),
  UNAUTHENTICATED: entry('unauthenticated', 'The API key is missing, malformed, unknown or revoked.'),
  FORBIDDEN: entry('forbidden', 'The API key is valid but may not do this.'),
  NOT_FOUND: entry('not_found', 'The object does not exist, or the key may not see it.'),
  ROUTE_NOT_FOUND: entry('not_found', 'No route has this method and path.'),
  ALREADY_EXISTS: entry('conflict', 'An object of this name exists already.'),
  CONFLICT: entry('conflict', 'The state of the object does not allow this. The message says what to do first.'),
  ENDPOINT_DISABLED: entry('conflict', 'The endpoint is disabled. Enable it through the API, then retry.'),
  PROJECT_LOCKED: entry('locked', 'Another operation of the project cannot overlap with this one.', true),
  PROJECTS_LIMIT_EXCEEDED: entry('limit', 'The organization has as many projects as it may have.'),
  BRANCHES_LIMIT_EXCEEDED: entry('limit', 'The project has as many branches as it may have.'),
  ROOT_BRANCHES_LIMIT_EXCEEDED: entry('limit', 'The project has as many root branches as it may have.'),
  BRANCHES_PROTECTED_LIMIT_EXCEEDED: entry('limit', 'The project has as many protected branches as it may have.'),
  ENDPOINTS_LIMIT_EXCEEDED: entry('limit', 'The branch has as many endpoints as it may have.'),
  SNAPSHOTS_LIMIT_EXCEEDED: entry('limit', 'The project has as many snapshots as it may have.'),
  ROLES_LIMIT_EXCEEDED: entry('limit', 'The branch has as many roles as it may have.'),
  DATABASES_LIMIT_EXCEEDED: entry('limit', 'The branch has as many databases as it may have.'),
  ACTIVE_ENDPOINTS_LIMIT_EXCEEDED: entry(
    'limit',
    'As many computes are awake as this host can carry. Suspend some, then retry.',
    true,
  ),
  RATE_LIMITED: entry('rate_limited', 'Too many requests in a short time.', true),
  HOST_UNAVAILABLE: entry('unavailable', 'The host process does not answer. Sleeping data is not affected.', true),
  METADATA_UNAVAILABLE: entry(
    'unavailable',
    'The metadata database does not answer. Existing endpoints keep working.',
    true,
  ),
  COMPUTE_START_FAILED: entry('unavailable', 'The compute did not start. The next connect tries again.', true),
  SHUTTING_DOWN: entry('unavailable', 'This process is stopping.', true),
  OPERATION_FAILED: entry(
    'internal',
    'A step of the operation failed for good. `GET .../operations/{id}` holds the reason.',
  ),
  DEADLINE_EXCEEDED: entry('timeout', 'The work did not end within its deadline.', true),
  NO_SPACE: entry('no_space', 'The disk that holds the data directory is full. Free space, then retry.', true),
  INTERNAL: entry('internal', 'A fault of Tenantry. The log holds it under the request id.'),
} as const satisfies Record<string, ErrorCodeEntry>;

export type ErrorCode = keyof typeof ERROR_CODES;
