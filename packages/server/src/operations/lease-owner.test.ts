import { expect, test } from 'vitest';
import { isKnownDead, newLeaseOwner } from './lease-owner.ts';

test('only an owner whose process has surely ended is known dead', () => {
  const owner = newLeaseOwner();
  const [space, , random] = owner.split('/');
  // Above the largest pid that Linux and macOS give.
  const deadPid = 4_194_305;
  expect(isKnownDead(owner)).toBe(false);
  expect(isKnownDead(`${space}/${process.ppid}/${random}`)).toBe(false);
  expect(isKnownDead(`${space}/${deadPid}/${random}`)).toBe(true);
  expect(isKnownDead(`another-machine/${deadPid}/${random}`)).toBe(false);
  for (const broken of ['', 'other', `${space}/-1/x`, `${space}/0/x`, `${space}/x/x`]) {
    expect(isKnownDead(broken)).toBe(false);
  }
});
