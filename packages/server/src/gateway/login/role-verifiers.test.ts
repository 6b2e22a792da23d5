import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { must } from '../../kernel/assert.ts';
import { createLog } from '../../kernel/log.ts';
import { makeVerifier, parseVerifier } from '../../kernel/scram-verifier.ts';
import type { DirectoryEntry } from '../ports.ts';
import { RoleVerifiers } from './role-verifiers.ts';

const ENTRY: DirectoryEntry = {
  endpointId: 'ep-a',
  branchId: 'br-a',
  projectId: 'a',
  hostId: 'local',
  disabled: false,
  roles: {},
  allowedIps: [],
};

/** Verifiers over a host whose answers the test gives, or does not. */
function overHost() {
  const asked: { role: string; signal: AbortSignal; answer: (text: string | undefined) => void }[] = [];
  const verifiers = new RoleVerifiers({
    broker: {
      acquire: async () => await Promise.reject(new Error('woken')),
      findRoleVerifier: async (_endpointId, role, signal) => {
        const { promise, resolve } = Promise.withResolvers<string | undefined>();
        asked.push({ role, signal, answer: resolve });
        return await promise;
      },
    },
    mockAuthKey: randomBytes(32),
    log: createLog('test', 'silent'),
  });
  return { asked, verifiers };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a look-up that a stuck host does not answer is ended, and the client sees a mock', async () => {
  const { asked, verifiers } = overHost();
  const found = verifiers.find(ENTRY, 'stranger');
  await vi.advanceTimersByTimeAsync(1_999);
  expect(asked.map(({ signal }) => signal.aborted)).toEqual([false]);
  await vi.advanceTimersByTimeAsync(1);
  expect(asked.map(({ signal }) => signal.aborted)).toEqual([true]);
  expect((await found).iterations).toBe(4096);
});

test('clients that ask for the same role at once share one look-up; the next asks anew', async () => {
  const { asked, verifiers } = overHost();
  const fresh = makeVerifier('made by SQL');
  const { storedKey: freshKey } = must(parseVerifier(fresh));
  const found = Promise.all(Array.from({ length: 100 }, () => verifiers.find(ENTRY, 'made_by_sql')));
  const other = verifiers.find(ENTRY, 'other');
  const elsewhere = verifiers.find({ ...ENTRY, endpointId: 'ep-b' }, 'other');
  expect(asked.map(({ role }) => role)).toEqual(['made_by_sql', 'other', 'other']);
  for (const { role, answer } of asked) answer(role === 'other' ? undefined : fresh);
  for (const { storedKey } of await found) expect(storedKey).toEqual(freshKey);
  await Promise.all([other, elsewhere]);
  const again = verifiers.find(ENTRY, 'made_by_sql');
  expect(asked).toHaveLength(4);
  asked[3]?.answer(undefined);
  expect((await again).storedKey).not.toEqual(freshKey);
});
