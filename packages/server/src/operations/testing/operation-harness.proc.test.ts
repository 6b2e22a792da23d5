import { afterAll, beforeAll, expect, test } from 'vitest';
import { testDatabase, type TestDatabase } from '../../metadata/testing/test-database.ts';
import { done, goto, type OperationDefinition, type OperationEngine } from '../operation.ts';
import { checkOperation, type OperationCase } from './operation-harness.ts';

let metadata: TestDatabase;
beforeAll(async () => {
  metadata = await testDatabase();
});
afterAll(() => metadata[Symbol.asyncDispose]());

interface World {
  readonly volumes: string[];
  readonly computes: string[];
}
interface Input {
  readonly name: string;
}
type Definition = OperationDefinition<Input, World>;

const createVolume: Definition = {
  kind: 'create',
  action: 'create_timeline',
  deadlineMs: 10_000,
  firstStep: 'volume',
  steps: {
    volume: async ({ deps }, { name }) => {
      if (!deps.volumes.includes(name)) deps.volumes.push(name);
      return goto('compute');
    },
    compute: async ({ deps }, { name }) => {
      if (!deps.computes.includes(name)) deps.computes.push(name);
      return done;
    },
  },
  onFailure: async ({ deps }, { name }) => {
    for (const list of Object.values(deps)) if (list.includes(name)) list.splice(list.indexOf(name), 1);
  },
};

let subjects = 0;
function caseOf(definition: Definition): OperationCase<World, string> {
  const deps: World = { volumes: [], computes: [] };
  const count = (list: readonly string[], name: string): number => list.filter((n) => n === name).length;
  return {
    kind: 'create',
    definitions: [definition],
    deps,
    enqueue: async (engine: OperationEngine) => {
      const subject = `volume-${(subjects += 1)}`;
      const operationId = await metadata.db
        .transaction()
        .execute((tx) => engine.enqueue(tx, definition, { name: subject }, { projectId: subject }));
      return { operationId, subject };
    },
    verifyDone: async (name) => expect([count(deps.volumes, name), count(deps.computes, name)]).toEqual([1, 1]),
    verifyFailed: async (name) => expect([count(deps.volumes, name), count(deps.computes, name)]).toEqual([0, 0]),
  };
}

test('an idempotent operation that cleans up passes', async () => {
  await checkOperation(metadata, caseOf(createVolume));
});

test('a step that is not idempotent is found', async () => {
  const volume: Definition['steps'][string] = async ({ deps }, { name }) => {
    deps.volumes.push(name);
    return goto('compute');
  };
  const definition = { ...createVolume, steps: { ...createVolume.steps, volume } };
  await expect(checkOperation(metadata, caseOf(definition))).rejects.toThrow('create: every step twice');
});

test('an operation that leaves something after its failure is found', async () => {
  const onFailure: Definition['onFailure'] = async ({ deps }, { name }) => {
    deps.computes.splice(deps.computes.indexOf(name), 1);
  };
  await expect(checkOperation(metadata, caseOf({ ...createVolume, onFailure }))).rejects.toThrow(
    'create: failure after',
  );
});
