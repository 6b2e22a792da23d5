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

/** Tries, over about seven seconds: a compute that stops just now, or a host that restarts, is back by then. */
const TRIES_MAX = 10;
const BACKOFF = { firstMs: 10, maxMs: 2_000 } as const;

/** Going down, coming up, gone: the compute is not there, but the next one will be. */
const GOING_AWAY: ReadonlySet<string> = new Set(['57P01', '57P02', '57P03']);

/** Too many connections. In a burst of short sessions a place is free a moment later. */
const CROWDED = '53300';

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
      for (let attempt = 1; ; attempt++) {
        try {
          return await connectOnce(endpointId, login, parts, signal);
        } catch (error) {
          signal.throwIfAborted();
          if (!isWorthAnotherTry(error)) throw withoutProtocol(error);
          if (attempt === TRIES_MAX) throw error instanceof DisconnectedError ? computeUnreachable() : error;
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

function isWorthAnotherTry(error: unknown): boolean {
  if (error instanceof DisconnectedError) return true;
  if (error instanceof ComputeRefusal) return GOING_AWAY.has(error.sqlstate) || error.sqlstate === CROWDED;
  return error instanceof PlatformError && (error.code === 'HOST_UNAVAILABLE' || error.code === 'SHUTTING_DOWN');
}

/** A compute that breaks the protocol is not the client's fault. */
function withoutProtocol(error: unknown): unknown {
  return error instanceof ProtocolError ? new Error('The compute broke the protocol', { cause: error }) : error;
}
