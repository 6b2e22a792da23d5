import { randomBytes } from 'node:crypto';
import { equalBytes } from '../../pgwire/scram.ts';
import type { CancelKey } from '../../pgwire/startup-packet.ts';
import type { ComputeTarget } from '../ports.ts';

/** Bytes of the secret: what protocol 3.0 has room for, and what 3.2 has. */
const SHORT_SECRET_BYTES = 4;
const LONG_SECRET_BYTES = 32;

/** Process ids that clients show and compare as signed numbers: 1 to 2^31 - 1. */
const PROCESS_ID_END = 2 ** 31;

/** Where a cancel goes: the session of a compute that one client owns. */
export interface CancelTarget {
  readonly target: ComputeTarget;
  /** The compute's own key. */
  readonly key: CancelKey;
}

interface Registration extends CancelTarget {
  readonly secret: Buffer;
}

/**
 * The cancel keys of one worker's sessions. All bits are random but for the remainder of the process id by the number
 * of workers, which names the worker: any worker can be asked to cancel.
 */
export class CancelKeys {
  readonly #workerIndex: number;
  readonly #workers: number;
  readonly #registrations = new Map<number, Registration>();

  constructor(workerIndex: number, workers: number) {
    this.#workerIndex = workerIndex;
    this.#workers = workers;
  }

  /** The index of the worker that gave the key out. */
  workerOf(key: CancelKey): number {
    return key.processId % this.#workers;
  }

  /** Makes the key under which a client may cancel what runs in its session. */
  register(cancel: CancelTarget, isLong: boolean): CancelKey {
    const secret = randomBytes(isLong ? LONG_SECRET_BYTES : SHORT_SECRET_BYTES);
    const processId = this.#newProcessId();
    this.#registrations.set(processId, { ...cancel, secret });
    return { processId, secret };
  }

  unregister(key: CancelKey): void {
    this.#registrations.delete(key.processId);
  }

  find(key: CancelKey): CancelTarget | undefined {
    const found = this.#registrations.get(key.processId);
    return found && equalBytes(found.secret, key.secret) ? found : undefined;
  }

  #newProcessId(): number {
    for (;;) {
      const random = randomBytes(4).readUInt32BE() % PROCESS_ID_END;
      const processId = random - (random % this.#workers) + this.#workerIndex;
      if (processId > 0 && processId < PROCESS_ID_END && !this.#registrations.has(processId)) return processId;
    }
  }
}
