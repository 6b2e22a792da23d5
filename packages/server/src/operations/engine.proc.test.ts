import { afterAll, beforeAll, expect, test } from 'vitest';
import { PlatformError } from '../kernel/errors.ts';
import { testDatabase, type TestDatabase } from '../metadata/testing/test-database.ts';
import { findOperation } from './operation-rows.ts';
import { done, goto, skipped, wait, type Next, type OperationDefinition, type StepContext } from './operation.ts';
import { runEngine } from './testing/running-engine.ts';

let metadata: TestDatabase;
beforeAll(async () => {
  metadata = await testDatabase();
});
afterAll(() => metadata[Symbol.asyncDispose]());

type Script = (context: StepContext<null>, input: { readonly name: string }) => Promise<Next>;
type Definition = OperationDefinition<{ readonly name: string }, null>;

/** An operation of the given steps; the first is named first. */
function define(steps: Record<string, Script>, more: Partial<Definition> = {}): Definition {
  const [firstStep = ''] = Object.keys(steps);
  return { kind: 'test', action: 'apply_config', deadlineMs: 30_000, firstStep, steps, ...more };
}

let projects = 0;
const newProject = (): { projectId: string } => ({ projectId: `project-${(projects += 1)}` });
const engineOf = (...definitions: Definition[]) => runEngine(metadata, { definitions, deps: null });

test('steps run in the order that they name, with the input, and the operation finishes', async () => {
  const seen: string[] = [];
  const definition = define({
    first: async ({ attempt }, { name }) => {
      seen.push(`first ${name} ${attempt}`);
      return goto('second');
    },
    second: async () => {
      seen.push('second');
      return done;
    },
  });
  await using engine = engineOf(definition);
  const id = await engine.submit(definition, { name: 'a' }, newProject());
  expect(await engine.ended(id)).toEqual({ id, status: 'finished', failure: null });
  expect(seen).toEqual(['first a 1', 'second']);
});

test('an operation of a transaction that rolls back does not exist', async () => {
  const definition = define({ only: async () => done });
  await using engine = engineOf(definition);
  const { projectId } = newProject();
  let id = '';
  const work = metadata.db.transaction().execute(async (tx) => {
    id = await engine.enqueue(tx, definition, { name: 'a' }, { projectId });
    throw new Error('rolled back');
  });
  await expect(work).rejects.toThrow('rolled back');
  expect(await findOperation(metadata.db, projectId, id)).toBeUndefined();
  expect(await engine.waitFor([id], 1_000)).toEqual([]);
});

test('operations of one project run one after another in order, projects run side by side', async () => {
  const running = new Map<string, number>();
  const order: string[] = [];
  let sideBySideMax = 0;
  const definition = define({
    only: async (_, { name }) => {
      const project = name.split(' ')[0] ?? '';
      running.set(project, (running.get(project) ?? 0) + 1);
      expect(running.get(project)).toBe(1);
      sideBySideMax = Math.max(sideBySideMax, [...running.values()].filter((n) => n > 0).length);
      await new Promise((resolve) => setTimeout(resolve, 3));
      order.push(name);
      running.set(project, 0);
      return done;
    },
  });
  await using a = engineOf(definition);
  await using b = engineOf(definition);
  const targets = [newProject(), newProject(), newProject(), newProject()];
  // Enqueued by racing transactions: what counts is the order of their commits, which `seq` gives.
  const ids = await Promise.all(
    Array.from({ length: 80 }, (_, n) => {
      const target = targets[n % targets.length] ?? newProject();
      return (n % 3 ? a : b).submit(definition, { name: `${target.projectId} ${n}` }, target);
    }),
  );
  for (const outcome of await a.waitFor(ids, 20_000)) expect(outcome.status).toBe('finished');
  expect(sideBySideMax).toBeGreaterThan(1);
  const rows = await metadata.db.selectFrom('operations').select(['project_id', 'input']).orderBy('seq').execute();
  for (const { projectId } of targets) {
    const expected = rows.filter((r) => r.project_id === projectId).map((r) => r.input['name']);
    expect(order.filter((name) => name.startsWith(`${projectId} `))).toEqual(expected);
  }
});

test('a retryable error is retried with its count and reason in the row, without running the step before', async () => {
  const attempts: number[] = [];
  let firstRuns = 0;
  const definition = define({
    first: async () => {
      firstRuns += 1;
      return goto('second');
    },
    second: async ({ attempt }) => {
      attempts.push(attempt);
      if (attempt < 4) throw new PlatformError('HOST_UNAVAILABLE', 'Cannot reach the host');
      return done;
    },
  });
  await using engine = engineOf(definition);
  const { projectId } = newProject();
  const id = await engine.submit(definition, { name: 'a' }, { projectId });
  await expect
    .poll(() => findOperation(metadata.db, projectId, id), { interval: 5 })
    .toMatchObject({ status: 'running', retryAt: expect.any(Date), failure: { code: 'HOST_UNAVAILABLE' } });
  expect(await engine.ended(id)).toMatchObject({ status: 'finished' });
  expect({ attempts, firstRuns }).toEqual({ attempts: [1, 2, 3, 4], firstRuns: 1 });
  const record = await findOperation(metadata.db, projectId, id);
  expect(record).toMatchObject({ failuresCount: 3, failure: null, retryAt: null });
});

test('an error that cannot pass fails at once and cleans up first, repeatedly if need be', async () => {
  const log: string[] = [];
  const definition = define(
    {
      only: async () => {
        log.push('step');
        throw new PlatformError('ENGINE_NOT_INSTALLED', 'Cannot use Postgres 14', { details: { pgVersion: 14 } });
      },
    },
    {
      onFailure: async ({ attempt }, { name }, { code }) => {
        log.push(`clean ${name} ${code} ${attempt}`);
        if (attempt < 3) throw new Error('not yet');
      },
    },
  );
  await using engine = engineOf(definition);
  const { projectId } = newProject();
  const id = await engine.submit(definition, { name: 'a' }, { projectId });
  const failure = { code: 'ENGINE_NOT_INSTALLED', message: 'Cannot use Postgres 14', details: { pgVersion: 14 } };
  expect(await engine.ended(id)).toEqual({ id, status: 'failed', failure });
  const clean = (n: number): string => `clean a ENGINE_NOT_INSTALLED ${n}`;
  expect(log).toEqual(['step', clean(1), clean(2), clean(3)]);
});

test('an unknown error is retried a bounded number of times, and its text is not shown', async () => {
  let runs = 0;
  const definition = define({
    only: async () => {
      runs += 1;
      throw new Error('secret path /x/y');
    },
  });
  await using engine = engineOf(definition);
  const id = await engine.submit(definition, { name: 'a' }, newProject());
  const { status, failure } = await engine.ended(id);
  expect({ status, runs, code: failure?.code }).toEqual({ status: 'failed', runs: 5, code: 'INTERNAL' });
  expect(failure?.message).not.toContain('secret');
});

test('an operation that does not end within its deadline fails with the last reason', async () => {
  const definition = define(
    {
      only: async () => {
        throw new PlatformError('HOST_UNAVAILABLE', 'Cannot reach the host');
      },
    },
    { deadlineMs: 300 },
  );
  await using engine = engineOf(definition);
  const { status, failure } = await engine.ended(await engine.submit(definition, { name: 'a' }, newProject()));
  expect(status).toBe('failed');
  expect(failure?.code).toBe('DEADLINE_EXCEEDED');
  expect(failure?.message).toBe('Cannot finish the operation within 0.3 s. Last failure: Cannot reach the host');
});

test('a step is aborted at its own deadline and tried again', async () => {
  let aborts = 0;
  const definition = define(
    {
      only: async ({ attempt, signal }) => {
        if (attempt === 2) return done;
        await new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            aborts += 1;
            reject(signal.reason as Error);
          });
        });
        return done;
      },
    },
    { stepDeadlineMs: 50 },
  );
  await using engine = engineOf(definition);
  const id = await engine.submit(definition, { name: 'a' }, newProject());
  expect(await engine.ended(id)).toMatchObject({ status: 'finished' });
  expect(aborts).toBe(1);
});

test('a step may wait and look again, and may find that there is nothing to do', async () => {
  let runs = 0;
  const definition = define({
    only: async ({ attempt }) => {
      expect(attempt).toBe(1);
      return (runs += 1) < 3 ? wait(20) : skipped;
    },
  });
  await using engine = engineOf(definition);
  const id = await engine.submit(definition, { name: 'a' }, newProject());
  expect(await engine.ended(id)).toMatchObject({ status: 'skipped' });
  expect(runs).toBe(3);
});

test('what depends on a failed operation is cancelled unrun; what does not still runs', async () => {
  const ran: string[] = [];
  const definition = define({
    only: async (_, { name }) => {
      ran.push(name);
      if (name === 'fails') throw new PlatformError('NOT_FOUND', 'Cannot find it');
      return done;
    },
  });
  await using engine = engineOf(definition);
  const { projectId } = newProject();
  const ids = await metadata.db.transaction().execute(async (tx) => {
    const fails = await engine.enqueue(tx, definition, { name: 'fails' }, { projectId });
    const child = await engine.enqueue(tx, definition, { name: 'child' }, { projectId, dependsOn: [fails] });
    const grandchild = await engine.enqueue(tx, definition, { name: 'grandchild' }, { projectId, dependsOn: [child] });
    const other = await engine.enqueue(tx, definition, { name: 'other' }, { projectId });
    const follower = await engine.enqueue(tx, definition, { name: 'follower' }, { projectId, dependsOn: [other] });
    return [fails, child, grandchild, other, follower];
  });
  engine.kick();
  const outcomes = await engine.waitFor(ids, 10_000);
  expect(outcomes.map((o) => o.status)).toEqual(['failed', 'cancelled', 'cancelled', 'finished', 'finished']);
  expect(ran).toEqual(['fails', 'other', 'follower']);
});

test('without a kick the poll finds the work, and another engine sees its end', async () => {
  const definition = define({ only: async () => done });
  await using worker = runEngine(metadata, { definitions: [definition], deps: null, tuning: { pollMs: 50 } });
  await using api = runEngine(metadata, { definitions: [], deps: null, tuning: { pollMs: 50 } });
  const { projectId } = newProject();
  const id = await metadata.db
    .transaction()
    .execute((tx) => worker.enqueue(tx, definition, { name: 'a' }, { projectId }));
  expect(await api.ended(id)).toMatchObject({ status: 'finished' });
});

test('waiting ends in time with the status as it is', async () => {
  const { promise, resolve } = Promise.withResolvers<Next>();
  const definition = define({ only: () => promise });
  await using engine = engineOf(definition);
  const { projectId } = newProject();
  const ids = [
    await engine.submit(definition, { name: 'a' }, { projectId }),
    await engine.submit(definition, { name: 'b' }, { projectId }),
  ];
  await expect.poll(() => findOperation(metadata.db, projectId, ids[0] ?? '')).toMatchObject({ status: 'running' });
  expect((await engine.waitFor(ids, 30)).map((o) => o.status)).toEqual(['running', 'scheduling']);
  resolve(done);
  expect((await engine.waitFor(ids, 10_000)).map((o) => o.status)).toEqual(['finished', 'finished']);
});

test('stopping aborts the running steps and hands back their leases; the next engine runs the same step again', async () => {
  const runs: string[] = [];
  let isStopping = true;
  const definition = define({
    first: async () => goto('second'),
    second: async ({ signal, attempt }) => {
      runs.push(`second ${attempt}`);
      if (isStopping) await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('no'))));
      return done;
    },
  });
  const { projectId } = newProject();
  let id = '';
  {
    await using engine = engineOf(definition);
    id = await engine.submit(definition, { name: 'a' }, { projectId });
    await expect.poll(() => runs.length).toBe(1);
  }
  const row = await metadata.db
    .selectFrom('operations')
    .select(['lease_owner', 'step', 'status'])
    .where('id', '=', id)
    .executeTakeFirst();
  expect(row).toEqual({ lease_owner: null, step: 'second', status: 'running' });
  isStopping = false;
  await using engine = engineOf(definition);
  expect(await engine.ended(id)).toMatchObject({ status: 'finished' });
  expect(runs).toEqual(['second 1', 'second 1']);
  expect(await findOperation(metadata.db, projectId, id)).toMatchObject({ failuresCount: 0 });
});

test('a lease that another took aborts the step, and its result is not written', async () => {
  const tuning = { leaseMs: 300 };
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const definition = define({
    only: ({ signal }) =>
      new Promise((settle) => {
        signal.addEventListener('abort', () => {
          resolve();
          settle(done);
        });
      }),
  });
  await using engine = runEngine(metadata, { definitions: [definition], deps: null, tuning });
  const { projectId } = newProject();
  const id = await engine.submit(definition, { name: 'a' }, { projectId });
  await expect.poll(() => findOperation(metadata.db, projectId, id)).toMatchObject({ status: 'running' });
  await metadata.pool.query(
    `update operations set lease_owner = 'other', lease_until = now() + interval '1 hour' where id = $1`,
    [id],
  );
  await aborted;
  const row = await metadata.db
    .selectFrom('operations')
    .select(['lease_owner', 'status'])
    .where('id', '=', id)
    .executeTakeFirst();
  expect(row).toEqual({ lease_owner: 'other', status: 'running' });
  await metadata.pool.query('delete from operations where id = $1', [id]);
});

test('a lease is renewed as long as its step runs', async () => {
  let runs = 0;
  const definition = define({
    only: async () => {
      runs += 1;
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      return done;
    },
  });
  const tuning = { leaseMs: 300, pollMs: 20 };
  await using a = runEngine(metadata, { definitions: [definition], deps: null, tuning });
  await using b = runEngine(metadata, { definitions: [definition], deps: null, tuning });
  const id = await a.submit(definition, { name: 'a' }, newProject());
  expect(await b.ended(id)).toMatchObject({ status: 'finished' });
  expect(runs).toBe(1);
});

test('the poll reads unended operations only, however many have ended', async () => {
  await metadata.pool.query(`
    insert into operations (id, project_id, kind, action, input, step, status, ended_at)
    select gen_random_uuid(), 'old-' || n % 500, 'test', 'apply_config', '{}', 'only', 'finished', now()
    from generate_series(1, 20000) n`);
  await metadata.pool.query('analyze operations');
  const { rows } = await metadata.pool.query<{ 'QUERY PLAN': string }>(
    `explain select id from operations o where status in ('scheduling', 'running', 'failing')
     and not exists (select from operations e where e.project_id = o.project_id and e.seq < o.seq
       and e.status in ('scheduling', 'running', 'failing'))`,
  );
  const plan = rows.map((r) => r['QUERY PLAN']).join('\n');
  expect(plan).not.toContain('Seq Scan');
  expect(plan.match(/operations_unended/g)?.length).toBeGreaterThanOrEqual(2);
});
