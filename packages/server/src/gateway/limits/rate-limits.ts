import { RecentMap } from './recent-map.ts';

interface BucketOptions {
  readonly perSecond: number;
  readonly burst: number;
}

/** One token bucket per key. Times are milliseconds of a clock that never goes back (`performance.now()`). */
export class TokenBuckets {
  readonly #options: BucketOptions;
  readonly #buckets = new RecentMap<{ readonly tokens: number; readonly at: number }>();

  constructor(options: BucketOptions) {
    this.#options = options;
  }

  /** Takes a token; false if there is none. */
  take(key: string, now: number): boolean {
    const tokens = this.#tokens(key, now);
    if (tokens < 1) return false;
    this.#buckets.put(key, { tokens: tokens - 1, at: now });
    return true;
  }

  /** Undoes a `take`: what it was for was not to be counted. */
  giveBack(key: string, now: number): void {
    this.#buckets.put(key, { tokens: Math.min(this.#options.burst, this.#tokens(key, now) + 1), at: now });
  }

  #tokens(key: string, now: number): number {
    const { perSecond, burst } = this.#options;
    const bucket = this.#buckets.get(key);
    return bucket ? Math.min(burst, bucket.tokens + ((now - bucket.at) * perSecond) / 1000) : burst;
  }
}

interface BreakerOptions {
  readonly failuresMax: number;
  readonly windowMs: number;
  readonly blockMs: number;
}

/** Blocks a key for a while after too many failures in a window: against guessing of passwords. */
export class FailureBreaker {
  readonly #options: BreakerOptions;
  readonly #failures = new RecentMap<readonly number[]>();
  readonly #blockedUntil = new RecentMap<number>();

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  isBlocked(key: string, now: number): boolean {
    return (this.#blockedUntil.get(key) ?? 0) > now;
  }

  recordFailure(key: string, now: number): void {
    const { failuresMax, windowMs, blockMs } = this.#options;
    const recent = [...(this.#failures.get(key) ?? []).filter((at) => at > now - windowMs), now];
    if (recent.length < failuresMax) {
      this.#failures.put(key, recent);
      return;
    }
    this.#failures.delete(key);
    this.#blockedUntil.put(key, now + blockMs);
  }
  forget(key: string): void {
    this.#failures.delete(key);
    this.#blockedUntil.delete(key);
  }
}
