import { PlatformError } from '../kernel/errors.ts';

export interface RateLimitOptions {
  readonly requestsPerMinute: number;
  /** Requests that may come at once after a quiet time. */
  readonly burst: number;
}

/** A token bucket per API key, in memory. Full buckets are forgotten. */
export class RateLimit {
  readonly #options: RateLimitOptions;
  readonly #now: () => number;
  readonly #buckets = new Map<number, { tokens: number; at: number }>();

  constructor(options: RateLimitOptions, now: () => number = Date.now) {
    this.#options = options;
    this.#now = now;
  }

  /** @throws PlatformError RATE_LIMITED with the seconds to wait in its details */
  take(apiKeyId: number): void {
    const { requestsPerMinute, burst } = this.#options;
    const now = this.#now();
    const perMs = requestsPerMinute / 60_000;
    const bucket = this.#buckets.get(apiKeyId) ?? { tokens: burst, at: now };
    const tokens = Math.min(burst, bucket.tokens + (now - bucket.at) * perMs);
    if (tokens < 1) {
      this.#buckets.set(apiKeyId, { tokens, at: now });
      throw new PlatformError(
        'RATE_LIMITED',
        `Cannot take more than ${requestsPerMinute} requests per minute from one API key: retry later`,
        { details: { retryAfterSeconds: Math.ceil((1 - tokens) / perMs / 1000) } },
      );
    }
    this.#buckets.set(apiKeyId, { tokens: tokens - 1, at: now });
  }

  /** Forgets keys that have been quiet for long enough to have a full bucket. */
  forgetQuiet(): void {
    const fullAfterMs = (this.#options.burst / this.#options.requestsPerMinute) * 60_000;
    for (const [apiKeyId, { at }] of this.#buckets) {
      if (this.#now() - at >= fullAfterMs) this.#buckets.delete(apiKeyId);
    }
  }
}
