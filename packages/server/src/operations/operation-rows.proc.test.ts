import { afterAll, beforeAll, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../metadata/testing/test-database.ts';
import { findOperation, listOperations, listOperationsByIds } from './operation-rows.ts';
import { done, type OperationDefinition } from './operation.ts';
import { runEngine } from './testing/running-engine.ts';

let metadata: TestDatabase;
beforeAll(async () => {
  metadata = await testDatabase();
});
afterAll(() => metadata[Symbol.asyncDispose]());

const definition: OperationDefinition<object, null> = {
  kind: 'test',
  action: 'apply_config',
  deadlineMs: 1_000,
  firstStep: 'only',
  steps: { only: async () => done },
};

test('pages go from the newest to the oldest and meet each operation once, also among equal times', async () => {
  await using engine = runEngine(metadata, { definitions: [definition], deps: null });
  const ids: string[] = [];
  for (let n = 0; n < 23; n += 1) ids.push(await engine.submit(definition, {}, { projectId: 'p' }));
  await engine.submit(definition, {}, { projectId: 'other' });
  await engine.waitFor(ids, 10_000);
  const readAll = async (): Promise<string[]> => {
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await listOperations(metadata.db, 'p', { limit: 5, cursor });
      seen.push(...page.items.map((o) => o.id));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return seen;
  };
  expect(await readAll()).toEqual(ids.toReversed());
  await metadata.pool.query(
    `update operations set created_at = '2026-01-01 00:00:00.123456+00' where project_id = 'p'`,
  );
  expect((await readAll()).sort()).toEqual(ids.sort());
});

test('an operation is found in its project only, with what clients are shown', async () => {
  await using engine = runEngine(metadata, { definitions: [definition], deps: null });
  const target = { projectId: 'q', branchId: 'br-1', endpointId: 'ep-1' };
  const id = await engine.submit(definition, {}, target);
  await engine.ended(id);
  const found = await findOperation(metadata.db, 'q', id);
  expect(found).toMatchObject({ ...target, id, kind: 'test', action: 'apply_config', status: 'finished' });
  expect(found).toMatchObject({ failure: null, failuresCount: 0, retryAt: null });
  expect(found?.createdAt).toBeInstanceOf(Date);
  expect(found?.totalDurationMs).toBeGreaterThan(0);
  expect(await findOperation(metadata.db, 'p', id)).toBeUndefined();
  expect(await findOperation(metadata.db, 'q', 'not-an-id')).toBeUndefined();
  expect(await listOperationsByIds(metadata.db, [id])).toEqual([found]);
});

test.each(['', 'x', '2026-02-31T00:00:00.000000Z_', `2026-02-31T00:00:00.000000Z_${crypto.randomUUID()}`])(
  'a cursor that no page gave is refused: %j',
  async (cursor) => {
    await expect(listOperations(metadata.db, 'p', { limit: 5, cursor })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
    });
  },
);
