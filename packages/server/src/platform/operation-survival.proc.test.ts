import { deepStrictEqual, rejects, strictEqual } from 'node:assert/strict';
import { sql } from 'kysely';
import { test } from 'vitest';
import { checkOperation, type OperationCase } from '../operations/testing/operation-harness.ts';
import type { OperationEngine } from '../operations/operation.ts';
import type { PlatformDeps } from './context.ts';
import { createPlatform, operationDefinitions } from './create-platform.ts';
import { findDirectoryEntry } from './directory/directory-rows.ts';
import type { CreatedProject, Operation, Platform } from './platform.ts';
import { listHostRemovals } from './hosts/host-removal-rows.ts';
import { eventually, TEST_ADMIN_KEY, testPlatform, type TestPlatform } from './testing/test-platform.ts';

/** Every operation: each step twice, a crash after each step, a failure around each step. */

type Submit<Subject> = (
  platform: Platform,
  project: CreatedProject | undefined,
) => Promise<{ readonly operations: readonly Operation[]; readonly subject: Subject }>;

interface Case<Subject> {
  readonly kind: string;
  /** False: the operation under test makes the project itself. */
  readonly needsProject?: boolean;
  readonly submit: Submit<Subject>;
  readonly verifyDone: (t: TestPlatform, subject: Subject) => Promise<void>;
  readonly verifyFailed: (t: TestPlatform, subject: Subject) => Promise<void>;
}

/** Control has no engine of its own here: the harness runs one. */
async function survives<Subject>(operation: Case<Subject>): Promise<void> {
  await using t = await testPlatform({ settings: { answerWaitMs: 0 }, runsEngine: false });
  const { needsProject = true, submit, kind, verifyDone, verifyFailed } = operation;
  // Without a kick the engine looks a second later, when the command has answered.
  const platformOf = (engine: OperationEngine): Platform =>
    createPlatform(t.context, { ...engine, kick: () => undefined });
  const harness: OperationCase<PlatformDeps, Subject> = {
    kind,
    definitions: operationDefinitions,
    deps: t.context,
    enqueue: async (engine) => {
      const project = needsProject ? await insertReadyProject(t, engine) : undefined;
      const { operations, subject } = await submit(platformOf(engine), project);
      const operationId = await findKind(t, operations, kind);
      return { operationId, subject };
    },
    verifyDone: (subject) => verifyDone(t, subject),
    verifyFailed: (subject) => verifyFailed(t, subject),
  };
  await checkOperation(t.database, harness);

  async function insertReadyProject(t: TestPlatform, engine: OperationEngine): Promise<CreatedProject> {
    const project = await createPlatform(t.context, engine).projects.create(t.principal, {});
    const outcomes = await engine.waitFor(
      project.operations.map((o) => o.id),
      10_000,
    );
    deepStrictEqual(
      outcomes.map((o) => o.status),
      ['finished', 'finished'],
    );
    return project;
  }
}

async function findKind(t: TestPlatform, operations: readonly Operation[], kind: string): Promise<string> {
  const ids = operations.map((o) => o.id);
  let query = t.database.db.selectFrom('operations').select('id').where('kind', '=', kind);
  // A command that gives no operations has just enqueued the newest.
  if (ids.length > 0) query = query.where('id', 'in', ids);
  return (await query.orderBy('seq', 'desc').executeTakeFirstOrThrow()).id;
}

test('create_timeline survives, and leaves nothing if it fails', async () => {
  await survives({
    kind: 'create_timeline',
    needsProject: false,
    submit: async (platform) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const created = await platform.projects.create(principal, {});
      return { operations: created.operations, subject: created };
    },
    verifyDone: async (t, { project, branch, endpoints }) => {
      const present = await t.platform.branches.get(t.principal, project.id, branch.id);
      strictEqual(present.state, 'ready');
      strictEqual(t.host.volumes.has(branch.id), true);
      strictEqual(t.host.endpoints.has(endpoints[0]?.id ?? 'ep-'), true);
    },
    verifyFailed: async (t, { project, branch, endpoints }) => {
      await rejects(t.platform.projects.get(t.principal, project.id), { code: 'NOT_FOUND' });
      const row = await t.database.db.selectFrom('projects').select('id').where('id', '=', project.id).execute();
      deepStrictEqual(row, []);
      strictEqual(t.host.volumes.has(branch.id), false);
      strictEqual(t.host.endpoints.has(endpoints[0]?.id ?? 'ep-'), false);
      strictEqual(await findDirectoryEntry(t.database.db, endpoints[0]?.id ?? ''), undefined);
    },
  });
});

test('apply_catalog_change survives, and puts the rows back if it fails', async () => {
  await survives({
    kind: 'apply_catalog_change',
    submit: async (platform, created) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const ids = [created?.project.id ?? '', created?.branch.id ?? ''] as const;
      const { operations } = await platform.roles.create(principal, ...ids, { name: 'alice' });
      return { operations, subject: { ids, endpointId: created?.endpoints[0]?.id ?? ('ep-' as const) } };
    },
    verifyDone: async (t, { ids, endpointId }) => {
      const names = (await t.platform.roles.list(t.principal, ...ids)).map((role) => role.name);
      deepStrictEqual(names, ['alice', 'neondb_owner']);
      const entry = await findDirectoryEntry(t.database.db, endpointId);
      strictEqual(entry?.roles['alice'], t.host.endpoints.get(endpointId)?.roles.get('alice'));
    },
    // If it failed after Postgres had made the role, the next report brings it back.
    verifyFailed: async (t, { ids, endpointId }) => {
      const rows = await t.database.db
        .selectFrom('catalog_changes')
        .select('seq')
        .where('branch_id', '=', ids[1])
        .where('state', '=', 'pending')
        .execute();
      deepStrictEqual(rows, []);
      deepStrictEqual(t.host.endpoints.get(endpointId)?.spec.catalogChanges, []);
    },
  });
});

test('delete_timeline survives', async () => {
  await survives({
    kind: 'delete_timeline',
    submit: async (platform, created) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const projectId = created?.project.id ?? '';
      await platform.projects.delete(principal, projectId);
      return { operations: [], subject: { projectId, branchId: created?.branch.id ?? '' } };
    },
    verifyDone: async (t, { projectId, branchId }) => {
      const rows = await t.database.db.selectFrom('projects').select('id').where('id', '=', projectId).execute();
      deepStrictEqual(rows, []);
      strictEqual(t.host.volumes.has(branchId), false);
    },
    verifyFailed: async (t, { projectId }) => {
      await rejects(t.platform.projects.get(t.principal, projectId), { code: 'NOT_FOUND' });
    },
  });
});

test('start_compute survives, and settles what the creation has ordered', async () => {
  await survives({
    kind: 'start_compute',
    needsProject: false,
    submit: async (platform) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const { operations, branch, endpoints } = await platform.projects.create(principal, {});
      return { operations, subject: { branchId: branch.id, endpointId: endpoints[0]?.id ?? ('ep-' as const) } };
    },
    verifyDone: async (t, { branchId, endpointId }) => {
      strictEqual(t.host.endpoints.get(endpointId)?.state, 'active');
      const query = t.database.db.selectFrom('catalog_changes').select('state').where('branch_id', '=', branchId);
      deepStrictEqual(await query.execute(), [{ state: 'applied' }]);
    },
    verifyFailed: async () => undefined,
  });
});

test.each(['suspend', 'restart'] as const)('%s_compute survives', async (verb) => {
  await survives({
    kind: `${verb}_compute`,
    submit: async (platform, created) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const endpointId = created?.endpoints[0]?.id ?? ('ep-' as const);
      const { operations } = await platform.endpoints[verb](principal, created?.project.id ?? '', endpointId);
      return { operations, subject: endpointId };
    },
    verifyDone: async (t, endpointId) => {
      strictEqual(t.host.endpoints.get(endpointId)?.state, verb === 'suspend' ? 'idle' : 'active');
    },
    verifyFailed: async () => undefined,
  });
});

test('apply_endpoint_spec survives', async () => {
  await survives({
    kind: 'apply_endpoint_spec',
    submit: async (platform, created) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const endpointId = created?.endpoints[0]?.id ?? ('ep-' as const);
      const input = { suspendTimeoutSeconds: 99 };
      const { operations } = await platform.endpoints.update(principal, created?.project.id ?? '', endpointId, input);
      return { operations, subject: endpointId };
    },
    verifyDone: async (t, endpointId) => {
      strictEqual(t.host.endpoints.get(endpointId)?.spec.suspendTimeoutSeconds, 99);
    },
    verifyFailed: async () => undefined,
  });
});

test('create_branch survives, and leaves nothing if it fails', async () => {
  await survives({
    kind: 'create_branch',
    submit: async (platform, created) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const endpoints = [{ type: 'read_write' }, { type: 'read_only' }] as const;
      const made = await platform.branches.create(principal, created?.project.id ?? '', { endpoints });
      return { operations: made.operations, subject: made };
    },
    verifyDone: async (t, { branch, endpoints }) => {
      const present = await t.platform.branches.get(t.principal, branch.projectId, branch.id);
      strictEqual(present.state, 'ready');
      strictEqual(present.parentLsn, t.host.volumes.get(branch.id)?.origin?.lsn);
      for (const { id } of endpoints) strictEqual(t.host.endpoints.has(id), true);
      strictEqual(volumesOf(t, branch.projectId), 3);
    },
    verifyFailed: async (t, { branch, endpoints }) => {
      await rejects(t.platform.branches.get(t.principal, branch.projectId, branch.id), { code: 'NOT_FOUND' });
      for (const { id } of endpoints) {
        strictEqual(t.host.endpoints.has(id), false);
        strictEqual(await findDirectoryEntry(t.database.db, id), undefined);
      }
      strictEqual(volumesOf(t, branch.projectId), 1);
    },
  });
});

test('make_endpoint survives, and leaves nothing if it fails', async () => {
  await survives({
    kind: 'make_endpoint',
    submit: async (platform, created) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const input = { branchId: created?.branch.id ?? '', type: 'read_only' } as const;
      const { endpoint, operations } = await platform.endpoints.create(principal, created?.project.id ?? '', input);
      return { operations, subject: endpoint };
    },
    verifyDone: async (t, { id, projectId }) => {
      strictEqual(t.host.endpoints.has(id), true);
      strictEqual(volumesOf(t, projectId), 2);
    },
    verifyFailed: async (t, { id, projectId }) => {
      await rejects(t.platform.endpoints.get(t.principal, projectId, id), { code: 'NOT_FOUND' });
      strictEqual(t.host.endpoints.has(id), false);
      strictEqual(volumesOf(t, projectId), 1);
    },
  });
});

test('remove_volumes survives; if it fails, it is known what is left', async () => {
  await survives({
    kind: 'remove_volumes',
    submit: async (platform, created) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const projectId = created?.project.id ?? '';
      const { branch } = await platform.branches.create(principal, projectId, {});
      await eventually(async () => (await platform.branches.get(principal, projectId, branch.id)).state === 'ready');
      const deleted = await platform.branches.delete(principal, projectId, branch.id, { isHard: true });
      return { operations: deleted?.operations ?? [], subject: projectId };
    },
    verifyDone: async (t, projectId) => strictEqual(volumesOf(t, projectId), 1),
    verifyFailed: async (t, projectId) => {
      const { volumeIds } = await listHostRemovals(t.database.db, projectId);
      strictEqual(volumesOf(t, projectId), 1 + volumeIds.length);
    },
  });
});

test('remove_endpoints survives; if it fails, it is known what is left', async () => {
  await survives({
    kind: 'remove_endpoints',
    submit: async (platform, created) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const id = created?.endpoints[0]?.id ?? ('ep-' as const);
      const { endpoint, operations } = await platform.endpoints.delete(principal, created?.project.id ?? '', id);
      return { operations, subject: endpoint };
    },
    verifyDone: async (t, { id }) => strictEqual(t.host.endpoints.has(id), false),
    verifyFailed: async (t, { id, projectId }) => {
      const { endpointIds } = await listHostRemovals(t.database.db, projectId);
      strictEqual(t.host.endpoints.has(id), endpointIds.length === 1);
    },
  });
});

test('apply_history_retention survives', async () => {
  await survives({
    kind: 'apply_history_retention',
    submit: async (platform, created) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const input = { historyRetentionSeconds: 7200 };
      const { operations } = await platform.projects.update(principal, created?.project.id ?? '', input);
      return { operations, subject: created?.branch.id ?? '' };
    },
    verifyDone: async (t, branchId) => strictEqual(t.host.volumes.get(branchId)?.historyRetentionSeconds, 7200),
    verifyFailed: async () => undefined,
  });
});

const volumesOf = (t: TestPlatform, projectId: string): number =>
  [...t.host.volumes.values()].filter((volume) => volume.projectId === projectId).length;

/** Every volume on the host belongs to a row, or is noted as to be removed. */
async function expectVolumesKnown(t: TestPlatform, projectId: string): Promise<void> {
  const { rows } = await sql<{ id: string }>`
    select volume_id as id from branches where project_id = ${projectId}
    union select volume_id from endpoints where project_id = ${projectId} and volume_id is not null
    union select volume_id from snapshots where project_id = ${projectId}
    union select id from host_removals where project_id = ${projectId}`.execute(t.database.db);
  const known = new Set(rows.map(({ id }) => id));
  const present = [...t.host.volumes].filter(([, volume]) => volume.projectId === projectId).map(([id]) => id);
  deepStrictEqual(
    present.filter((id) => !known.has(id)),
    [],
  );
}

const idsOf = (created: CreatedProject | undefined) => ({
  projectId: created?.project.id ?? '',
  branchId: created?.branch.id ?? '',
  endpointId: created?.endpoints[0]?.id ?? ('ep-' as const),
});

test('restore_branch survives, and leaves the branch as it was or restored', async () => {
  await survives({
    kind: 'restore_branch',
    submit: async (platform, created) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const ids = idsOf(created);
      const { operations, branch } = await platform.branches.restore(principal, ids.projectId, ids.branchId, {
        sourceBranchId: ids.branchId,
        at: { timestamp: new Date().toISOString() },
        preserveUnderName: 'before',
      });
      strictEqual(branch.state, 'resetting');
      return { operations, subject: ids };
    },
    verifyDone: async (t, { projectId, branchId, endpointId }) => {
      const { items } = await t.platform.branches.list(t.principal, projectId, { limit: 10, sortBy: 'name' });
      deepStrictEqual(
        items.map(({ name, state }) => [name, state]),
        [
          ['main', 'ready'],
          ['before', 'ready'],
        ],
      );
      const volumeId = t.host.endpoints.get(endpointId)?.spec.volumeId ?? '';
      strictEqual(t.host.volumes.get(volumeId)?.source, branchId);
      strictEqual(t.host.volumes.has(branchId), true);
      strictEqual((await t.platform.roles.list(t.principal, projectId, items[1]?.id ?? '')).length, 1);
      await expectVolumesKnown(t, projectId);
    },
    verifyFailed: async (t, { projectId, branchId }) => {
      const { items } = await t.platform.branches.list(t.principal, projectId, { limit: 10 });
      const isRestored = items.length === 2;
      strictEqual(
        items.every(({ state }) => state === 'ready'),
        true,
      );
      const row = await t.database.db.selectFrom('branches').select('volume_id').where('id', '=', branchId).execute();
      strictEqual(row[0]?.volume_id === branchId, !isRestored);
      await expectVolumesKnown(t, projectId);
    },
  });
});

test('take_snapshot survives, and leaves none if it fails', async () => {
  await survives({
    kind: 'take_snapshot',
    submit: async (platform, created) => {
      const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
      const ids = idsOf(created);
      const { operations } = await platform.snapshots.create(principal, ids.projectId, ids.branchId, {});
      return { operations, subject: ids };
    },
    verifyDone: async (t, { projectId }) => {
      const snapshots = await t.platform.snapshots.list(t.principal, projectId);
      deepStrictEqual(
        snapshots.map(({ lsn }) => lsn !== null),
        [true],
      );
      await expectVolumesKnown(t, projectId);
    },
    verifyFailed: async (t, { projectId }) => {
      deepStrictEqual(await t.platform.snapshots.list(t.principal, projectId), []);
      strictEqual([...t.host.volumes.values()].filter((volume) => volume.projectId === projectId).length, 1);
    },
  });
});

/** Takes a snapshot by an engine that works while the one under test has not begun. */
async function restoreSnapshot(platform: Platform, created: CreatedProject | undefined, isFinal: boolean) {
  const principal = await platform.accounts.authenticate(TEST_ADMIN_KEY, '127.0.0.1');
  const ids = idsOf(created);
  const { snapshot } = await platform.snapshots.create(principal, ids.projectId, ids.branchId, {});
  await eventually(async () =>
    (await platform.snapshots.list(principal, ids.projectId)).some(({ lsn }) => lsn !== null),
  );
  const input = { name: 'again', isFinal };
  const { operations, branch } = await platform.snapshots.restore(principal, ids.projectId, snapshot.id, input);
  return { operations, subject: { ...ids, newId: branch.id } };
}

test('restore_snapshot survives, and leaves no branch if it fails', async () => {
  await survives({
    kind: 'restore_snapshot',
    submit: (platform, created) => restoreSnapshot(platform, created, false),
    verifyDone: async (t, { projectId, newId }) => {
      const branch = await t.platform.branches.get(t.principal, projectId, newId);
      deepStrictEqual([branch.state, branch.restoreStatus], ['ready', 'restored']);
      strictEqual(t.host.volumes.has(newId), true);
      await expectVolumesKnown(t, projectId);
    },
    verifyFailed: async (t, { projectId, newId }) => {
      await rejects(t.platform.branches.get(t.principal, projectId, newId), { code: 'NOT_FOUND' });
      strictEqual(t.host.volumes.has(newId), false);
    },
  });
});

test('finalize_restore survives, and moves all or nothing', async () => {
  await survives({
    kind: 'finalize_restore',
    submit: (platform, created) => restoreSnapshot(platform, created, true),
    verifyDone: async (t, { projectId, newId, endpointId }) => {
      const branch = await t.platform.branches.get(t.principal, projectId, newId);
      deepStrictEqual([branch.name, branch.isDefault, branch.restoreStatus], ['main', true, 'finalized']);
      strictEqual(t.host.endpoints.get(endpointId)?.spec.volumeId, newId);
      await expectVolumesKnown(t, projectId);
    },
    verifyFailed: async (t, { projectId, branchId, newId, endpointId }) => {
      const [old, branch] = await Promise.all(
        [branchId, newId].map((id) => t.platform.branches.get(t.principal, projectId, id)),
      );
      const isMoved = branch?.restoreStatus === 'finalized';
      deepStrictEqual([old?.name, branch?.name], isMoved ? ['main (old)', 'main'] : ['main', 'again']);
      deepStrictEqual([old?.state, branch?.state], ['ready', 'ready']);
      const { branchId: owner } = await t.platform.endpoints.get(t.principal, projectId, endpointId);
      strictEqual(owner, isMoved ? newId : branchId);
      await expectVolumesKnown(t, projectId);
    },
  });
});
