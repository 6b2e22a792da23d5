import { expect, test } from 'vitest';
import { transact } from '../command/transact.ts';
import { eventually, testPlatform, type TestPlatform } from '../testing/test-platform.ts';
import { directoryChanges } from './directory-changes.ts';
import { getDirectoryEpoch, type DirectoryChange } from './directory-rows.ts';

/** Follows the directory as a gateway does. */
function follow(t: TestPlatform, sinceSeq: number): { seen: DirectoryChange[]; stop: () => Promise<void> } {
  const controller = new AbortController();
  const seen: DirectoryChange[] = [];
  const following = (async () => {
    for await (const change of directoryChanges(t.context, sinceSeq, controller.signal)) seen.push(change);
  })();
  const stop = async (): Promise<void> => {
    controller.abort();
    await following;
  };
  return { seen, stop };
}

test('a gateway hears of creations, changes and deletions within moments', async () => {
  await using t = await testPlatform();
  const gateway = follow(t, 0);
  const { project, endpoints } = await t.platform.projects.create(t.principal, {});
  const endpointId = endpoints[0]?.id ?? '';
  await eventually(async () => gateway.seen.some((c) => c.endpointId === endpointId && c.entry), 500);
  expect(gateway.seen[0]?.entry).toMatchObject({
    endpointId,
    projectId: project.id,
    hostId: 'host-1',
    disabled: false,
  });

  await t.platform.endpoints.update(t.principal, project.id, endpointId, { disabled: true });
  await eventually(async () => gateway.seen.at(-1)?.entry?.disabled, 500);
  const before = gateway.seen.at(-1)?.seq ?? 0;
  await t.platform.projects.delete(t.principal, project.id);
  await eventually(async () => gateway.seen.at(-1)?.entry === null, 500);
  await gateway.stop();
  expect(gateway.seen.map((c) => c.seq)).toEqual(gateway.seen.map((c) => c.seq).sort((a, b) => a - b));

  // One that was away hears of the deletion; a new one has nothing to forget.
  await eventually(async () => t.host.volumes.size === 0);
  const returning = follow(t, before);
  await eventually(async () => returning.seen.length > 0);
  await returning.stop();
  expect(returning.seen).toEqual([{ seq: expect.any(Number), endpointId, entry: null }]);
  const fresh = follow(t, 0);
  const { endpoints: others } = await t.platform.projects.create(t.principal, {});
  await eventually(async () => fresh.seen.length > 0);
  await fresh.stop();
  expect(new Set(fresh.seen.map((c) => c.endpointId))).toEqual(new Set([others[0]?.id]));
});

test('no reader misses a change, however many are committed at once', async () => {
  await using t = await testPlatform({ followsReports: false });
  const created = await Promise.all(Array.from({ length: 6 }, () => t.platform.projects.create(t.principal, {})));
  const ids = created.map((c) => c.endpoints[0]?.id ?? '');
  const gateway = follow(t, 0);
  const last = new Map<string, number>();
  // Transactions of different length: numbers drawn early may be committed late.
  await Promise.all(
    Array.from({ length: 60 }, async (_, i) => {
      const id = ids[i % ids.length] ?? '';
      await transact(t.context, async ({ tx, changeDirectory }) => {
        await tx
          .updateTable('endpoints')
          .set({ name: `n${i}` })
          .where('id', '=', id)
          .execute();
        await new Promise((resolve) => setTimeout(resolve, i % 7));
        changeDirectory([id]);
      });
    }),
  );
  const rows = await t.database.db.selectFrom('directory_entries').select(['endpoint_id', 'seq']).execute();
  for (const row of rows) last.set(row.endpoint_id, Number(row.seq));
  await eventually(async () => (gateway.seen.at(-1)?.seq ?? 0) >= Math.max(...last.values()));
  await gateway.stop();
  const seqs = gateway.seen.map((c) => c.seq);
  expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
  for (const id of ids) {
    expect(gateway.seen.findLast((c) => c.endpointId === id)?.seq).toBe(last.get(id));
  }
});

test('a metadata database has one epoch of its own', async () => {
  await using one = await testPlatform({ followsReports: false });
  await using two = await testPlatform({ followsReports: false });
  const epoch = await getDirectoryEpoch(one.database.db);
  expect(await getDirectoryEpoch(one.database.db)).toBe(epoch);
  expect(await getDirectoryEpoch(two.database.db)).not.toBe(epoch);
});
