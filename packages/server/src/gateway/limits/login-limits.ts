import { addressKey } from '../login/client-address.ts';
import { blockedAfterFailures, tooManyAttempts, type GatewayError } from '../error-response.ts';
import { FailureBreaker, TokenBuckets } from './rate-limits.ts';

/** Connects per endpoint: admits a thousand clients in one second, and 600 a second for good. */
const ATTEMPTS = { perSecond: 600, burst: 1500 } as const;

/** Wrong passwords per endpoint and address. */
const FAILURES = { failuresMax: 10, windowMs: 150_000, blockMs: 120_000 } as const;

/** Limits on logins, per worker process. `now` is a clock that never goes back, in milliseconds. */
export class LoginLimits {
  readonly #now: () => number;
  readonly #attempts = new TokenBuckets(ATTEMPTS);
  readonly #failures = new FailureBreaker(FAILURES);

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Counts an attempt; gives the error if it is one too many. */
  refusalOf(endpointId: string, address: string): GatewayError | undefined {
    if (this.#failures.isBlocked(failureKey(endpointId, address), this.#now())) return blockedAfterFailures();
    return this.#attempts.take(endpointId, this.#now()) ? undefined : tooManyAttempts();
  }

  recordFailure(endpointId: string, address: string): void {
    this.#failures.recordFailure(failureKey(endpointId, address), this.#now());
  }
}

const failureKey = (endpointId: string, address: string): string => `${endpointId} ${addressKey(address)}`;
