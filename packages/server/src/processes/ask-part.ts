import { messageOf } from '../kernel/errors.ts';
import { withDeadline } from '../kernel/wait.ts';

/** What a part answered, or why it did not: one of the two is null. */
export interface Asked<T> {
  readonly value: T | null;
  readonly problem: string | null;
}

/** Short, so that what is shown to people and machines comes while they wait, whichever part is stuck. */
const PART_MAX_MS = 2_000;

/**
 * Asks one part of the platform for something that is to be shown. Never rejects: a part that is down must not take what
 * the others say with it.
 * @param what completes "Cannot ..."
 */
export async function askPart<T>(what: string, work: (signal: AbortSignal) => Promise<T>): Promise<Asked<T>> {
  try {
    return { value: await withDeadline(what, PART_MAX_MS, work), problem: null };
  } catch (error) {
    return { value: null, problem: messageOf(error) };
  }
}
