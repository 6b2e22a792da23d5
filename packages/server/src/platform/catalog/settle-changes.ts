import { unreachable } from '../../kernel/assert.ts';
import type { Work } from '../command/transact.ts';
import { deleteDatabaseRow } from '../databases/database-rows.ts';
import { listEndpointIds } from '../endpoints/endpoint-rows.ts';
import { deleteRoleRow, setRoleSecret } from '../roles/role-rows.ts';
import { lockPendingChanges, markSettled, raiseSettledSeq, type PendingChange } from './catalog-change-rows.ts';

/** The compute has all changes up to and including `seq`: the rows become what it has. Harmless if repeated. */
export async function settleApplied(work: Work, branchId: string, seq: number): Promise<void> {
  const pending = await lockPendingChanges(work.tx, branchId, seq);
  for (const change of pending) await settleOne(work, branchId, change);
  if (pending.length === 0) return;
  const seqs = pending.map((change) => change.seq);
  await markSettled(work.tx, branchId, seqs, 'applied');
  await raiseSettledSeq(work.tx, branchId, Math.max(...seqs));
  if (pending.some(({ change }) => change.kind === 'put_role' || change.kind === 'drop_role')) {
    work.changeDirectory(await listEndpointIds(work.tx, { branchId }));
  }
}

/** Only now: until the compute has it, the old password is the right one. */
async function settleOne({ tx }: Work, branchId: string, { change, undo, passwordEncrypted }: PendingChange) {
  switch (change.kind) {
    case 'put_role':
      return setRoleSecret(tx, { branchId, name: change.name, verifier: change.verifier, passwordEncrypted });
    case 'drop_role':
      return deleteRoleRow(tx, branchId, change.name);
    case 'drop_database':
      return undo.kind === 'keep_database' ? deleteDatabaseRow(tx, undo.id) : undefined;
    case 'keep_role':
    case 'rename_role':
    case 'create_database':
    case 'update_database':
      return undefined;
    default:
      return unreachable(change);
  }
}
