import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Admission } from './admission.ts';

test('a burst of one address is held and gets in as places are given back', () => {
  const admission = new Admission({ activePerAddress: 2, active: 10, heldPerAddress: 3, held: 10 });
  const started: number[] = [];
  const leaves = [0, 1, 2, 3, 4].map((n) => admission.enter('a', () => void started.push(n)));
  expect(started).toEqual([0, 1]);
  expect(admission.enter('a', () => {})).toBeUndefined();
  leaves[0]?.();
  leaves[0]?.();
  expect(started).toEqual([0, 1, 2]);
  leaves[3]?.();
  leaves[1]?.();
  expect(started).toEqual([0, 1, 2, 4]);
});

test('one address does not keep another out', () => {
  const admission = new Admission({ activePerAddress: 2, active: 3, heldPerAddress: 5, held: 10 });
  const started: string[] = [];
  for (let i = 0; i < 5; i++) admission.enter('a', () => void started.push('a'));
  const leave = admission.enter('b', () => void started.push('b'));
  admission.enter('c', () => void started.push('c'));
  expect(started).toEqual(['a', 'a', 'b']);
  leave?.();
  expect(started).toEqual(['a', 'a', 'b', 'c']);
});

test('places are never over-filled nor lost, whatever the order', () => {
  const limits = { activePerAddress: 2, active: 3, heldPerAddress: 2, held: 4 };
  const steps = fc.array(
    fc.oneof(fc.record({ enter: fc.constantFrom('a', 'b', 'c') }), fc.record({ leave: fc.nat(30) })),
    {
      maxLength: 80,
    },
  );
  fc.assert(
    fc.property(steps, (steps) => {
      const admission = new Admission(limits);
      const inside = new Map<() => void, { address: string; isActive: boolean }>();
      const count = (address?: string): number =>
        [...inside.values()].filter((each) => each.isActive && (address ?? each.address) === each.address).length;
      for (const step of steps) {
        if ('enter' in step) {
          const ticket = { address: step.enter, isActive: false };
          const leave = admission.enter(step.enter, () => void (ticket.isActive = true));
          if (leave) inside.set(leave, ticket);
        } else {
          const leave = [...inside.keys()][step.leave];
          if (leave) inside.delete(leave);
          leave?.();
        }
        expect(count()).toBeLessThanOrEqual(limits.active);
        for (const address of ['a', 'b', 'c']) expect(count(address)).toBeLessThanOrEqual(limits.activePerAddress);
      }
      while (inside.size > 0) {
        const [leave] = [...inside].find(([, each]) => each.isActive) ?? [];
        expect(leave).toBeDefined();
        if (!leave) return;
        inside.delete(leave);
        leave();
      }
    }),
  );
});
