import { expect, test } from 'vitest';
import { WakeUp } from './wake-up.ts';

async function waitedMs(wakeUp: WakeUp, ms: number): Promise<number> {
  const startedAt = performance.now();
  await wakeUp.wait(ms);
  return performance.now() - startedAt;
}

test('a call ends the present wait, or the next one if nobody waits, and only that', async () => {
  const wakeUp = new WakeUp();
  setTimeout(() => wakeUp.now(), 5);
  expect(await waitedMs(wakeUp, 5_000)).toBeLessThan(1_000);
  wakeUp.now();
  wakeUp.now();
  expect(await waitedMs(wakeUp, 5_000)).toBeLessThan(1_000);
  expect(await waitedMs(wakeUp, 30)).toBeGreaterThanOrEqual(28);
});
