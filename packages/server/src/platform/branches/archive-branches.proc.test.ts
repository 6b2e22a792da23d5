import { expect, test } from 'vitest';
import type { BranchId } from '@tenantry/contract/ids.ts';
import { must } from '../../kernel/assert.ts';
import type { OperationEngine } from '../../operations/operation.ts';
import { checkOperation } from '../../operations/testing/operation-harness.ts';
import { createPlatform, operationDefinitions } from '../create-platform.ts';
import type { CreateBranchInput } from '../platform.ts';
import { eventually, testPlatform, type TestPlatform } from '../testing/test-platform.ts';
import { archiveBranches, archiveIdleBranches, followArchives } from './archive-branches.ts';
import { archiveBranchOperation, unarchiveBranchOperation } from './archive-operation.ts';
import { setArchived, setPendingArchived } from './archive-rows.ts';

const DAY_MS = 86_400_000;
const signal = new AbortController().signal;

interface Old extends AsyncDisposable {
  readonly t: TestPlatform;
  readonly projectId: string;
  readonly mainId: BranchId;
  /** Sets the clock so many days ahead. */
  readonly pass: (days: number) => void;
  readonly branch: (input?: CreateBranchInput) => Promise<BranchId>;
  readonly stateOf: (branchId: string) => Promise<string>;
}

async function oldProject(): Promise<Old> {
  let aheadMs = 0;
  const t = await testPlatform({ now: () => new Date(Date.now() + aheadMs) });
  const { platform, principal } = t;
  const { project, branch, operations } = await platform.projects.create(principal, {});
  await t.engine.waitFor(
    operations.map(({ id }) => id),
    5_000,
  );
  return {
    t,
    projectId: project.id,
    mainId: branch.id,
    pass: (days) => (aheadMs = days * DAY_MS),
    branch: async (input = {}) => {
      const created = await platform.branches.create(principal, project.id, input);
      await t.engine.waitFor(
        created.operations.map(({ id }) => id),
        5_000,
      );
      return created.branch.id;
    },
    stateOf: async (branchId) => (await platform.branches.get(principal, project.id, branchId)).state,
    [Symbol.asyncDispose]: () => t[Symbol.asyncDispose](),
  };
}

const archiveCalls = ({ t }: Old): readonly string[] =>
  t.host.calls.filter((call) => call.startsWith('archiveVolume')).map((call) => call.split(' ')[1] ?? '');

test('takes old idle branches without children, and no root, default, protected, scheduled or read one', async () => {
  await using old = await oldProject();
  const { t, projectId, branch } = old;
  const plain = await branch();
  const parent = await branch();
  const child = await branch({ parentId: parent });
  const isProtected = await branch({ isProtected: true });
  await branch({ initSource: 'schema-only' });
  const scheduled = await branch();
  await t.platform.snapshots.setSchedule(t.principal, projectId, scheduled, [{ frequency: 'daily', hour: 1 }]);
  await branch({ endpoints: [{ type: 'read_only' }] });
  const awake = await branch({ endpoints: [{ type: 'read_write' }] });
  await eventually(async () => {
    const [endpoint] = await t.platform.endpoints.list(t.principal, projectId, awake);
    return endpoint?.state === 'active';
  });

  await archiveIdleBranches(t.context, 14, signal);
  old.pass(13.9);
  await archiveIdleBranches(t.context, 14, signal);
  expect(archiveCalls(old)).toEqual([]);
  old.pass(14.1);
  await archiveIdleBranches(t.context, 14, signal);
  expect(archiveCalls(old)).toEqual([plain, child]);
  expect([await old.stateOf(plain), await old.stateOf(parent), await old.stateOf(isProtected)]).toEqual([
    'archived',
    'ready',
    'ready',
  ]);
  const { items } = await t.platform.operations.list(t.principal, projectId, { limit: 1 });
  expect(items[0]).toMatchObject({ action: 'timeline_archive', status: 'finished', branchId: child });

  // Once it sleeps it is idle from then on.
  const [endpoint] = await t.platform.endpoints.list(t.principal, projectId, awake);
  await t.platform.endpoints.suspend(t.principal, projectId, must(endpoint).id);
  old.pass(0.9);
  await archiveIdleBranches(t.context, 0.5, signal);
  expect(archiveCalls(old)).toEqual([plain, child, awake]);

  // The client that comes starts it, and control follows.
  await t.platform.endpoints.start(t.principal, projectId, must(endpoint).id);
  await eventually(async () => (await old.stateOf(awake)) === 'ready');
});

test('a branch that would save no space is left alone for long', async () => {
  await using old = await oldProject();
  const { t, branch } = old;
  const id = await branch();
  t.host.faults.archives = false;
  old.pass(20);
  await archiveIdleBranches(t.context, 14, signal);
  await archiveIdleBranches(t.context, 14, signal);
  expect(archiveCalls(old)).toEqual([id]);
  const { state, pendingState } = await t.platform.branches.get(t.principal, old.projectId, id);
  expect([state, pendingState]).toEqual(['ready', null]);
  old.pass(29);
  await archiveIdleBranches(t.context, 14, signal);
  expect(archiveCalls(old)).toEqual([id, id]);
});

test('whatever reads or changes an archived branch brings it back first', async () => {
  await using old = await oldProject();
  const { t, projectId, mainId, branch } = old;
  const { branches, snapshots } = t.platform;
  const id = await branch();
  const ids = [t.principal, projectId, id] as const;
  const uses: (() => Promise<unknown>)[] = [
    () => branches.schema(...ids, { databaseName: 'neondb' }),
    () => snapshots.create(...ids, { name: 'one' }),
    () => branches.restore(...ids, { sourceBranchId: mainId }),
    async () => branches.delete(t.principal, projectId, await branch({ parentId: id }), { isHard: true }),
    () => branches.restore(t.principal, projectId, mainId, { sourceBranchId: id, preserveUnderName: 'before' }),
  ];
  for (const use of uses) {
    const { volume_id: volumeId } = await t.database.db
      .selectFrom('branches')
      .select('volume_id')
      .where('id', '=', id)
      .executeTakeFirstOrThrow();
    t.host.archived.add(volumeId);
    await setArchived(t.database.db, id, true);
    expect(await old.stateOf(id)).toBe('archived');
    await use();
    expect(await old.stateOf(id), use.toString()).toBe('ready');
    expect([...t.host.archived]).toEqual([]);
  }
});

test('a branch that the host has brought back by itself is ready, and a deleted one leaves no archive', async () => {
  await using old = await oldProject();
  const { t, projectId, branch } = old;
  const id = await branch();
  old.pass(20);
  await archiveIdleBranches(t.context, 14, signal);
  await followArchives(t.context);
  expect(await old.stateOf(id)).toBe('archived');
  t.host.archived.delete(id);
  await followArchives(t.context);
  expect(await old.stateOf(id)).toBe('ready');

  const other = await branch();
  const stop = new AbortController();
  old.pass(40);
  const loop = archiveBranches(t.context, 14, stop.signal);
  await eventually(async () => (await old.stateOf(other)) === 'archived');
  stop.abort();
  await loop;
  await t.platform.branches.delete(t.principal, projectId, other, { isHard: true });
  await eventually(async () => !t.host.archived.has(other));
});

test('both operations survive, and the row says what the host has', async () => {
  await using t = await testPlatform({ settings: { answerWaitMs: 0 }, runsEngine: false });
  const ended = async (engine: OperationEngine, operations: readonly { readonly id: string }[]): Promise<unknown> =>
    await engine.waitFor(
      operations.map(({ id }) => id),
      10_000,
    );
  for (const definition of [archiveBranchOperation, unarchiveBranchOperation]) {
    const isArchiving = definition === archiveBranchOperation;
    const expectState = async (branchId: BranchId, isArchived: boolean): Promise<void> => {
      const row = await t.database.db.selectFrom('branches').selectAll().where('id', '=', branchId).executeTakeFirst();
      expect(row).toMatchObject({ state: isArchived ? 'archived' : 'ready', pending_state: null });
      expect([row?.archived_at !== null, t.host.archived.has(branchId)]).toEqual([isArchived, isArchived]);
    };
    await checkOperation(t.database, {
      kind: definition.kind,
      definitions: operationDefinitions,
      deps: t.context,
      enqueue: async (engine) => {
        const platform = createPlatform(t.context, engine);
        const { project, operations } = await platform.projects.create(t.principal, {});
        await ended(engine, operations);
        const { branch, operations: more } = await platform.branches.create(t.principal, project.id, {});
        await ended(engine, more);
        if (!isArchiving) {
          t.host.archived.add(branch.id);
          await setArchived(t.database.db, branch.id, true);
        }
        const operationId = await t.database.db.transaction().execute(async (tx) => {
          await setPendingArchived(tx, branch.id, isArchiving ? 'archived' : 'ready');
          const target = { projectId: project.id, branchId: branch.id };
          return await engine.enqueue(tx, definition, { branchId: branch.id }, target);
        });
        return { operationId, subject: branch.id };
      },
      verifyDone: (branchId) => expectState(branchId, isArchiving),
      verifyFailed: (branchId) => expectState(branchId, t.host.archived.has(branchId)),
    });
  }
});
