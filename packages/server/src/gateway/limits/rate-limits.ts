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

  /** Counts a failure; the last that the window has room for blocks the key, and later ones do not prolong that. */
  recordFailure(key: string, now: number): void {
    const { failuresMax, windowMs, blockMs } = this.#options;
    const isBlocked = this.isBlocked(key, now);
    if (!isBlocked && this.#blockedUntil.get(key) !== undefined) this.forget(key);
    const recent = [...(this.#failures.get(key) ?? []).filter((at) => isBlocked || at > now - windowMs), now];
    this.#failures.put(key, recent);
    if (!isBlocked && recent.length >= failuresMax) this.#blockedUntil.put(key, now + blockMs);
  }

  /** Whether more failures were counted than lead to a block: those that were under way when it began. */
  isOverdrawn(key: string): boolean {
    return (this.#failures.get(key)?.length ?? 0) > this.#options.failuresMax;
  }

  forget(key: string): void {
    this.#failures.delete(key);
    this.#blockedUntil.delete(key);
  }
}
