import { PlatformError } from '../../kernel/errors.ts';
import { backoffMs, sleep, withDeadline } from '../../kernel/wait.ts';
import { ProtocolError } from '../../pgwire/protocol-error.ts';
import { logInToCompute, type ComputeLogin, type ComputeSession } from './compute-login.ts';
import { ComputeRefusal, computeUnreachable } from '../error-response.ts';
import type { LoginPermits } from '../limits/login-permits.ts';
import { DisconnectedError } from '../login/message-channel.ts';
import type { ComputeBroker, GatewayObserver } from '../ports.ts';

/** From authenticated to a session of the compute, all tries together. */
const CONNECT_TIMEOUT_MS = 60_000;

const BACKOFF = { firstMs: 10, maxMs: 250 } as const;

/** Going down, coming up, gone: the compute is not there, but the next one will be. */
const GOING_AWAY: ReadonlySet<string> = new Set(['57P01', '57P02', '57P03']);

/** Too many connections. */
const CROWDED = '53300';

/** Wrong password, though it fits the verifier that we have: the compute is about to learn it, or has a newer one. */
const UNKNOWN_PASSWORD = '28P01';

/** How long we try again: a compute that stops just now, or a host that restarts, is back by then. */
const RETRY_ABSENT_MS = 20_000;
/** The directory knows an endpoint that the host does not: its volume is being made, or it is being deleted. */
const RETRY_UNKNOWN_MS = 10_000;
/** In a burst of short sessions a place is free a moment later; who waits longer should hear Postgres' word. */
const RETRY_CROWDED_MS = 3_000;
const RETRY_PASSWORD_MS = 1_000;

export interface ConnectParts {
  readonly broker: ComputeBroker;
  readonly observer: GatewayObserver;
  readonly permits: LoginPermits;
}

/**
 * Wakes the compute if need be and logs in to it. Until a byte of the session was relayed nothing is lost by trying
 * again, so a compute that stops between our asking and our coming is asked for once more.
 * @throws PlatformError of the broker, ComputeRefusal, GatewayError; the reason of `signal`
 */
export async function connectCompute(
  endpointId: string,
  login: ComputeLogin,
  parts: ConnectParts,
  signal: AbortSignal,
): Promise<ComputeSession> {
  return await withDeadline(
    'connect to the compute',
    CONNECT_TIMEOUT_MS,
    async (signal) => {
      const startedAt = performance.now();
      for (let attempt = 1; ; attempt++) {
        try {
          return await connectOnce(endpointId, login, parts, signal);
        } catch (error) {
          signal.throwIfAborted();
          if (performance.now() - startedAt >= retryMsOf(error)) throw toClientError(error);
        }
        await sleep(backoffMs(attempt, BACKOFF), signal);
      }
    },
    signal,
  );
}

async function connectOnce(
  endpointId: string,
  login: ComputeLogin,
  { broker, observer, permits }: ConnectParts,
  signal: AbortSignal,
): Promise<ComputeSession> {
  const startedAt = performance.now();
  const target = await broker.acquire(endpointId, signal);
  observer.computeAcquired(performance.now() - startedAt);
  const release = await permits.take(endpointId, signal);
  try {
    return await logInToCompute(target, login, signal);
  } finally {
    release();
  }
}

function retryMsOf(error: unknown): number {
  if (error instanceof DisconnectedError) return RETRY_ABSENT_MS;
  if (error instanceof ComputeRefusal) {
    if (error.sqlstate === CROWDED) return RETRY_CROWDED_MS;
    if (error.sqlstate === UNKNOWN_PASSWORD) return RETRY_PASSWORD_MS;
    return GOING_AWAY.has(error.sqlstate) ? RETRY_ABSENT_MS : 0;
  }
  if (!(error instanceof PlatformError)) return 0;
  if (error.code === 'NOT_FOUND') return RETRY_UNKNOWN_MS;
  return error.code === 'HOST_UNAVAILABLE' || error.code === 'SHUTTING_DOWN' ? RETRY_ABSENT_MS : 0;
}

/** A compute that cannot be reached, or breaks the protocol, is not the client's fault. */
function toClientError(error: unknown): unknown {
  if (error instanceof DisconnectedError) return computeUnreachable(error);
  return error instanceof ProtocolError ? new Error('The compute broke the protocol', { cause: error }) : error;
}
