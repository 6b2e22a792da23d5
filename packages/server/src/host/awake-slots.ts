import type { EndpointId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../kernel/errors.ts';

/** Counts the computes that are awake, or about to be, and which volume each of them holds: one writer a volume. */
export class AwakeSlots {
  readonly max: number;
  readonly #endpoints = new Set<string>();
  readonly #volumes = new Map<string, EndpointId>();

  constructor(max: number) {
    this.max = max;
  }

  get count(): number {
    return this.#endpoints.size;
  }

  /** Idempotent. @throws PlatformError ACTIVE_ENDPOINTS_LIMIT_EXCEEDED */
  take(endpointId: string): void {
    if (this.#endpoints.has(endpointId)) return;
    if (this.#endpoints.size >= this.max) {
      throw new PlatformError(
        'ACTIVE_ENDPOINTS_LIMIT_EXCEEDED',
        `Cannot start the compute: ${this.max} are awake, as many as this host carries; suspend some, then retry`,
      );
    }
    this.#endpoints.add(endpointId);
  }

  /** For a compute that runs already, whatever the limit is now. */
  takeFound(endpointId: string): void {
    this.#endpoints.add(endpointId);
  }

  give(endpointId: string): void {
    this.#endpoints.delete(endpointId);
  }

  /** @throws PlatformError COMPUTE_START_FAILED if another endpoint's compute uses the volume */
  claimVolume(volumeId: string, endpointId: EndpointId): void {
    const holder = this.#volumes.get(volumeId) ?? endpointId;
    if (holder !== endpointId) {
      throw new PlatformError('COMPUTE_START_FAILED', 'Cannot start the compute: another one uses the same volume');
    }
    this.#volumes.set(volumeId, endpointId);
  }

  releaseVolume(volumeId: string, endpointId: string): void {
    if (this.#volumes.get(volumeId) === endpointId) this.#volumes.delete(volumeId);
  }

  /** The endpoint whose compute uses the volume. */
  holderOf(volumeId: string): EndpointId | undefined {
    return this.#volumes.get(volumeId);
  }
}
