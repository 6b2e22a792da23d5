import { deepStrictEqual, rejects, strictEqual } from 'node:assert/strict';
import { test } from 'vitest';
import { checkOperation, type OperationCase } from '../operations/testing/operation-harness.ts';
import type { OperationEngine } from '../operations/operation.ts';
import type { PlatformDeps } from './context.ts';
import { createPlatform, operationDefinitions } from './create-platform.ts';
import { findDirectoryEntry } from './directory/directory-rows.ts';
import type { CreatedProject, Operation, Platform } from './platform.ts';
import { TEST_ADMIN_KEY, testPlatform, type TestPlatform } from './testing/test-platform.ts';

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
