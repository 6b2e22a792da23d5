import type { GatewayObserver } from '../gateway/ports.ts';

/** Upper bounds of the histogram of wake times, in seconds. */
export const ACQUIRE_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60] as const;

/** Kinds of failed connects; a closed set, so that a client cannot make new time series. */
export const CONNECT_FAILURE_KINDS = [
  'user',
  'quota',
  'rate_limited',
  'service',
  'compute',
  'client_disconnect',
] as const;

/** The counts of one gateway process since it began, as flat totals that travel with the directory stream. */
export class GatewayCounters implements GatewayObserver {
  readonly #totals = new Map<string, number>();

  sessionOpened(): void {
    this.#add('sessions_opened', 1);
  }

  sessionClosed(_endpointId: string, bytesToClient: number, bytesFromClient: number): void {
    this.#add('sessions_closed', 1);
    this.#add('bytes_to_client', bytesToClient);
    this.#add('bytes_from_client', bytesFromClient);
  }

  connectFailed(kind: string): void {
    this.#add(`connect_failed_${CONNECT_FAILURE_KINDS.find((known) => known === kind) ?? 'service'}`, 1);
  }

  computeAcquired(milliseconds: number): void {
    const seconds = milliseconds / 1_000;
    for (const bound of ACQUIRE_BUCKETS_S) if (seconds <= bound) this.#add(`acquire_le_${bound}`, 1);
    this.#add('acquire_count', 1);
    this.#add('acquire_seconds_sum', seconds);
  }

  totals(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#totals);
  }

  #add(name: string, amount: number): void {
    this.#totals.set(name, (this.#totals.get(name) ?? 0) + amount);
  }
}
