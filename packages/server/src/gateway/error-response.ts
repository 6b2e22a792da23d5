import type { ErrorCode, ErrorKind } from '@tenantry/contract/error-codes.ts';
import { PlatformError } from '../kernel/errors.ts';
import { errorResponse, errorResponseV2 } from '../pgwire/backend-messages.ts';
import { ProtocolError } from '../pgwire/protocol-error.ts';

/** Why a connect failed, for metrics (`GatewayObserver.connectFailed`). */
export type FailureKind = 'user' | 'quota' | 'rate_limited' | 'service' | 'compute' | 'client_disconnect';

interface GatewayErrorOptions {
  readonly sqlstate?: string;
  readonly severity?: 'ERROR' | 'FATAL';
  readonly failure?: FailureKind;
  readonly cause?: Error | undefined;
}

/** "internal_error": what Neon's proxy sends with whatever it says itself. */
const XX000 = 'XX000';

/** A refusal in the words that clients of Neon know, with severity and SQLSTATE of its proxy. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  readonly sqlstate: string;
  readonly severity: string;
  readonly failure: FailureKind;

  constructor(
    message: string,
    { sqlstate = XX000, severity = 'ERROR', failure = 'user', cause }: GatewayErrorOptions = {},
  ) {
    super(message, { cause });
    this.sqlstate = sqlstate;
    this.severity = severity;
    this.failure = failure;
  }
}

/** The compute itself said no: its ErrorResponse goes to the client byte for byte. */
export class ComputeRefusal extends Error {
  override readonly name = 'ComputeRefusal';
  readonly sqlstate: string;
  readonly raw: Buffer;

  constructor(sqlstate: string, raw: Buffer) {
    super(`the compute refused the login with SQLSTATE ${sqlstate}`);
    this.sqlstate = sqlstate;
    this.raw = raw;
  }
}

const COMPUTE_UNREACHABLE = "Couldn't connect to compute node";
const ENDPOINT_UNKNOWN =
  "The requested endpoint could not be found, or you don't have access to it. Please check the provided ID and try again.";
const ENDPOINT_DISABLED = 'The endpoint has been disabled. Enable it using Neon API and retry.';
const RATE_LIMITED = "You've exceeded the rate limit. Please wait a moment and try again.";

/** Protocol violations after the startup packet, as Postgres answers them. */
const PROTOCOL_VIOLATION = '08P01';

/** SQLSTATE and metric of each kind of `PlatformError`, which come from the directory and the broker. */
const KINDS: Readonly<Record<ErrorKind, { readonly sqlstate: string; readonly failure: FailureKind }>> = {
  invalid: { sqlstate: 'XX000', failure: 'user' },
  unauthenticated: { sqlstate: '28P01', failure: 'user' },
  forbidden: { sqlstate: '28000', failure: 'user' },
  not_found: { sqlstate: 'XX000', failure: 'user' },
  conflict: { sqlstate: 'XX000', failure: 'user' },
  locked: { sqlstate: '55006', failure: 'user' },
  limit: { sqlstate: '53000', failure: 'quota' },
  rate_limited: { sqlstate: '53300', failure: 'rate_limited' },
  unavailable: { sqlstate: '57P03', failure: 'service' },
  timeout: { sqlstate: '57P03', failure: 'service' },
  no_space: { sqlstate: '53100', failure: 'service' },
  internal: { sqlstate: 'XX000', failure: 'service' },
};

/** Codes that Neon has words for, which go with its SQLSTATE; of every other code the message is shown. */
const NEON: Partial<Record<ErrorCode, { readonly message: string; readonly sqlstate?: string }>> = {
  NOT_FOUND: { message: ENDPOINT_UNKNOWN },
  ENDPOINT_DISABLED: { message: ENDPOINT_DISABLED },
  ACTIVE_ENDPOINTS_LIMIT_EXCEEDED: {
    message:
      'You have exceeded the limit of concurrently active endpoints. Please suspend some endpoints and try again.',
    sqlstate: '53000',
  },
  RATE_LIMITED: { message: RATE_LIMITED },
  HOST_UNAVAILABLE: { message: COMPUTE_UNREACHABLE },
  DEADLINE_EXCEEDED: { message: COMPUTE_UNREACHABLE },
  OPERATION_FAILED: { message: COMPUTE_UNREACHABLE },
  INTERNAL: { message: COMPUTE_UNREACHABLE },
};

/** What the client is told, and how it is counted. `isBug`: nobody expected this error, so it belongs in the log. */
export interface ErrorAnswer {
  readonly bytes: Buffer;
  readonly sqlstate: string;
  readonly failure: FailureKind;
  readonly isBug: boolean;
}

export function toErrorAnswer(error: unknown): ErrorAnswer {
  if (error instanceof ComputeRefusal) {
    return { bytes: error.raw, sqlstate: error.sqlstate, failure: 'compute', isBug: false };
  }
  const isKnown = error instanceof GatewayError || error instanceof PlatformError || error instanceof ProtocolError;
  const known = toGatewayError(error);
  return { bytes: errorResponse(known), sqlstate: known.sqlstate, failure: known.failure, isBug: !isKnown };
}

function toGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  if (error instanceof ProtocolError) {
    return new GatewayError(error.message, { sqlstate: PROTOCOL_VIOLATION, severity: 'FATAL' });
  }
  if (error instanceof PlatformError) {
    const { message, ...options } = { message: error.message, ...KINDS[error.kind], ...neonOf(error.code) };
    return new GatewayError(message, options);
  }
  return new GatewayError(COMPUTE_UNREACHABLE, KINDS.internal);
}

function neonOf(code: ErrorCode): { readonly message: string; readonly sqlstate: string } | undefined {
  const words = NEON[code];
  return words && { sqlstate: XX000, ...words };
}

/** The words of Postgres for a protocol that is not 3.x; a client of protocol 2 needs them in its own form. */
export function unsupportedVersion(major: number, minor: number): Buffer {
  const text = `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.2`;
  return major < 3 ? errorResponseV2(text) : errorResponse({ severity: 'FATAL', sqlstate: '0A000', message: text });
}

/** To sessions that outlive the grace time of a stopping gateway. */
export const ADMIN_SHUTDOWN = errorResponse({
  severity: 'FATAL',
  sqlstate: '57P01',
  message: 'terminating connection due to administrator command',
});

export const endpointUnknown = (): GatewayError => new GatewayError(ENDPOINT_UNKNOWN);
export const endpointDisabled = (): GatewayError => new GatewayError(ENDPOINT_DISABLED);
/** @param cause for the log */
export const computeUnreachable = (cause?: Error): GatewayError =>
  new GatewayError(COMPUTE_UNREACHABLE, { failure: 'compute', cause });

export const endpointNotSpecified = (): GatewayError =>
  new GatewayError(
    "Endpoint ID is not specified. Either please upgrade the postgres client library (libpq) for SNI support or pass the endpoint ID (first part of the domain name) as a parameter: '?options=endpoint%3D<endpoint-id>'. See more at https://neon.tech/sni",
  );

export const endpointsDiffer = (bySni: string, byOption: string): GatewayError =>
  new GatewayError(`Inconsistent project name inferred from SNI ('${bySni}') and project option ('${byOption}').`);

/** @param name without control characters: it is quoted to the client */
export const endpointMalformed = (name: string): GatewayError =>
  new GatewayError(`Project name ('${name}') must contain only alphanumeric characters and hyphen.`);

export const userMissing = (): GatewayError => new GatewayError("Parameter 'user' is missing in startup packet.");

export const insecureConnection = (): GatewayError =>
  new GatewayError('connection is insecure (try using `sslmode=require`)');

export const addressNotAllowed = (address: string): GatewayError =>
  new GatewayError(
    `This IP address ${address} is not allowed to connect to this endpoint. Please add it to the allowed list in the Neon console. Make sure to check for IPv4 or IPv6 addresses.`,
  );

export const protectedRole = (): GatewayError =>
  new GatewayError(
    "The role you're attempting to use is protected and cannot be used for password-based authentication. Please pick a different role and try again.",
  );

export const wrongPassword = (user: string): GatewayError =>
  new GatewayError(`password authentication failed for user '${user}'`);

export const tooManyAttempts = (): GatewayError =>
  new GatewayError('Too many connections to this endpoint. Please try again later.', { failure: 'rate_limited' });

export const blockedAfterFailures = (): GatewayError => new GatewayError(RATE_LIMITED, { failure: 'rate_limited' });

export const shuttingDown = (): GatewayError =>
  new GatewayError('The gateway is shutting down', { sqlstate: '57P03', severity: 'FATAL', failure: 'service' });
