import { getPriority, setPriority } from 'node:os';

/** What this process, and so the platform, was started with. */
const ORDINARY = getPriority();

/** Before all that is ordinary, behind what the kernel needs. @see https://man7.org/linux/man-pages/man7/sched.7.html */
const FIRST = -10;

/**
 * Has this process go before computes that use all the CPU: a message between a client and its compute passes it for some
 * microseconds, a call of the API for some milliseconds in many steps, and each would wait behind every compute, for the
 * clients of all tenants. Only root may; without, it is one among equals. To be called before anything else is done:
 * threads that exist already keep what they have, later ones and children inherit.
 */
export function goFirst(): void {
  try {
    setPriority(Math.min(FIRST, ORDINARY));
  } catch {
    // Not root.
  }
}

/** Takes from a child what `goFirst` gave to its parent. What the child has forked by then keeps it. */
export function beOrdinary(pid: number): void {
  try {
    setPriority(pid, ORDINARY);
  } catch {
    // It has ended meanwhile.
  }
}
