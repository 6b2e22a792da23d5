import { expect, test } from 'vitest';
import { CancelKeys, type CancelTarget } from './cancel-keys.ts';

const target = (n: number): CancelTarget => ({
  target: { computeId: `c-${n}`, kind: 'unix', socketPath: '/x' },
  key: { processId: n, secret: Buffer.alloc(4) },
});

test.each([1, 2, 3, 8, 256])('a key names its worker among %i', (workers) => {
  for (const index of new Set([0, 1 % workers, workers - 1])) {
    const keys = new CancelKeys(index, workers);
    const issued = Array.from({ length: 200 }, (_, n) => keys.register(target(n), false));
    expect(new Set(issued.map((key) => key.processId)).size).toBe(200);
    for (const [n, key] of issued.entries()) {
      expect(key.processId).toBeGreaterThan(0);
      expect(key.processId).toBeLessThan(2 ** 31);
      expect(key.secret).toHaveLength(4);
      expect(keys.workerOf(key)).toBe(index);
      expect(keys.find(key)?.key.processId).toBe(n);
    }
  }
});

test('a key that is wrong in any part, or of a session that is over, finds nothing', () => {
  const keys = new CancelKeys(0, 1);
  const key = keys.register(target(1), true);
  expect(key.secret).toHaveLength(32);
  expect(keys.find({ ...key, processId: key.processId + 1 })).toBeUndefined();
  expect(keys.find({ ...key, secret: Buffer.alloc(32) })).toBeUndefined();
  expect(keys.find({ ...key, secret: key.secret.subarray(0, 4) })).toBeUndefined();
  keys.unregister(key);
  expect(keys.find(key)).toBeUndefined();
});
