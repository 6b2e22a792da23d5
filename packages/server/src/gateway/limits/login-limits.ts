import { addressKey } from '../login/client-address.ts';
import { blockedAfterFailures, tooManyAttempts, type GatewayError } from '../error-response.ts';
import type { WorkerLink } from '../workers/worker-link.ts';
import { FailureBreaker, TokenBuckets } from './rate-limits.ts';

/** Connects per endpoint and worker: admits a thousand clients in one second, and 600 a second for good. */
const ATTEMPTS = { perSecond: 600, burst: 1500 } as const;

/** Wrong passwords per endpoint and address, counted over all workers. */
const FAILURES = { failuresMax: 10, windowMs: 150_000, blockMs: 120_000 } as const;

/** Who tries to log in where. */
export interface LoginAttempt {
  readonly endpointId: string;
  readonly address: string;
}

/** Limits on logins. `now` is a clock that never goes back, in milliseconds. */
export class LoginLimits {
  readonly #link: WorkerLink;
  readonly #now: () => number;
  readonly #attempts = new TokenBuckets(ATTEMPTS);
  readonly #failures = new FailureBreaker(FAILURES);

  constructor(link: WorkerLink, now: () => number = () => performance.now()) {
    this.#link = link;
    this.#now = now;
    link.handle('wrong_password', (login) => {
      this.#failures.recordFailure(failureKey(login), this.#now());
      return true;
    });
    link.handle('outdated_password', (login) => {
      this.#failures.forget(failureKey(login));
      return true;
    });
  }

  /** Counts an attempt; gives the error if it is one too many. */
  refusalOf(login: LoginAttempt): GatewayError | undefined {
    return (
      this.refusalAfterFailures(login) ??
      (this.#attempts.take(login.endpointId, this.#now()) ? undefined : tooManyAttempts())
    );
  }

  /**
   * The error if wrong passwords have shut the address out. To be asked again before a password is judged: guesses that
   * are sent at once have all passed `refusalOf`.
   */
  refusalAfterFailures(login: LoginAttempt): GatewayError | undefined {
    return this.#failures.isBlocked(failureKey(login), this.#now()) ? blockedAfterFailures() : undefined;
  }

  /**
   * Counts a wrong password here and at the other workers. Gives the error if it is one too many: then the client must
   * not learn that it was wrong. As the count is looked at when all workers have it, ten are told so, wherever the
   * kernel brought them.
   */
  async recordFailure(login: LoginAttempt): Promise<GatewayError | undefined> {
    const key = failureKey(login);
    this.#failures.recordFailure(key, this.#now());
    await this.#link.tellOthers('wrong_password', login);
    return this.#failures.isOverdrawn(key) ? blockedAfterFailures() : undefined;
  }

  /** What was counted as wrong passwords was not: forgets them, and the block that they led to. */
  async forgiveFailures(login: LoginAttempt): Promise<void> {
    this.#failures.forget(failureKey(login));
    await this.#link.tellOthers('outdated_password', login);
  }
}

const failureKey = ({ endpointId, address }: LoginAttempt): string => `${endpointId} ${addressKey(address)}`;
