import type { Log } from '../../kernel/log.ts';
import { Notifier } from '../notifier.ts';

interface DirectoryFeedOptions {
  /** Waits, bounded, until the connected gateways know the directory up to `seq`. */
  readonly barrier?: (seq: number) => Promise<void>;
  readonly log: Log;
}

/** Tells the streams to gateways of this process that the directory has changed. */
export class DirectoryFeed {
  readonly changed = new Notifier();
  readonly #options: DirectoryFeedOptions;

  constructor(options: DirectoryFeedOptions) {
    this.#options = options;
  }

  /** After the commit: resolves once gateways know, or the barrier has given up on them. Never rejects. */
  async publish(seq: number): Promise<void> {
    this.changed.notify();
    try {
      await this.#options.barrier?.(seq);
    } catch (error) {
      this.#options.log.warn({ err: error, seq }, 'gateways did not confirm the directory');
    }
  }
}
