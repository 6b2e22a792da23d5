import { addressKey } from '../login/client-address.ts';
import { blockedAfterFailures, tooManyAttempts, type GatewayError } from '../error-response.ts';
import { FailureBreaker, TokenBuckets } from './rate-limits.ts';

/** Connects per endpoint: admits a thousand clients in one second, and 600 a second for good. */
const ATTEMPTS = { perSecond: 600, burst: 1500 } as const;

/** Wrong passwords per endpoint and address. */
const FAILURES = { failuresMax: 10, windowMs: 150_000, blockMs: 120_000 } as const;

/** Who tries to log in where. */
export interface LoginAttempt {
  readonly endpointId: string;
  readonly address: string;
}

/** Limits on logins, per worker process. `now` is a clock that never goes back, in milliseconds. */
export class LoginLimits {
  readonly #now: () => number;
  readonly #attempts = new TokenBuckets(ATTEMPTS);
  readonly #failures = new FailureBreaker(FAILURES);

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Counts an attempt; gives the error if it is one too many. */
  refusalOf(login: LoginAttempt): GatewayError | undefined {
    if (this.#failures.isBlocked(failureKey(login), this.#now())) return blockedAfterFailures();
    return this.#attempts.take(login.endpointId, this.#now()) ? undefined : tooManyAttempts();
  }

  recordFailure(login: LoginAttempt): void {
    this.#failures.recordFailure(failureKey(login), this.#now());
  }

  /** What was counted as wrong passwords was not: forgets them, and the block that they led to. */
  forgiveFailures(login: LoginAttempt): void {
    this.#failures.forget(failureKey(login));
  }
}

const failureKey = ({ endpointId, address }: LoginAttempt): string => `${endpointId} ${addressKey(address)}`;
