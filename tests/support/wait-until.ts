import { setTimeout as delay } from 'node:timers/promises';

type Falsy = false | null | undefined | 0 | '';

/**
 * Calls `condition` again and again until it gives a truthy value, and gives that back. A throw counts as "not yet".
 * @throws Error that names `what` and shows the last value (or error) after `timeoutMs`
 */
export async function waitUntil<T>(
  what: string,
  condition: () => T | Falsy | Promise<T | Falsy>,
  timeoutMs = 15_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 1.5, 200)) {
    try {
      const value = await condition();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() >= deadline) {
      const seen = last instanceof Error ? `${last.name}: ${last.message}` : JSON.stringify(last);
      throw new Error(`Waited ${timeoutMs} ms in vain for ${what}; last seen: ${seen}`);
    }
    await delay(pauseMs);
  }
}
