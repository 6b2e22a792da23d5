import { unreachable } from '../../kernel/assert.ts';
import { transact, type Work } from '../command/transact.ts';
import type { PlatformDeps } from '../context.ts';
import { deleteDatabaseRow, restoreDatabaseRow, setDatabaseDeleting } from '../databases/database-rows.ts';
import { pushEndpointSpec } from '../endpoints/apply-endpoint-spec.ts';
import { listEndpointIds, raiseGeneration } from '../endpoints/endpoint-rows.ts';
import { findEndpointSpec } from '../endpoints/endpoint-spec.ts';
import { deleteRoleRow, setRoleDeleting } from '../roles/role-rows.ts';
import type { CatalogUndo } from './catalog-change.ts';
import { lockPendingChanges, markSettled } from './catalog-change-rows.ts';

/**
 * Gives up the changes that are pending up to and including `seq`: puts the rows back, and takes the changes out of
 * what the host is told. Harmless if repeated.
 */
export async function refuseChanges(deps: PlatformDeps, endpointId: string, seq: number): Promise<void> {
  const spec = await findEndpointSpec(deps.metadata, endpointId);
  if (!spec) return;
  await transact(deps, (work) => refuseInRows(work, spec.branchId, seq));
  await pushEndpointSpec(deps, endpointId);
}

async function refuseInRows(work: Work, branchId: string, seq: number): Promise<void> {
  const pending = await lockPendingChanges(work.tx, branchId, seq);
  if (pending.length === 0) return;
  // The last first, as a stack.
  for (const { undo } of pending.toReversed()) await undoOne(work, branchId, undo);
  await markSettled(
    work.tx,
    branchId,
    pending.map((change) => change.seq),
    'refused',
  );
  const endpointIds = await listEndpointIds(work.tx, { branchId });
  await raiseGeneration(work.tx, endpointIds);
  work.changeDirectory(endpointIds);
}

async function undoOne({ tx }: Work, branchId: string, undo: CatalogUndo): Promise<void> {
  switch (undo.kind) {
    case 'nothing':
      return;
    case 'remove_role':
      return deleteRoleRow(tx, branchId, undo.name);
    case 'keep_role':
      return setRoleDeleting(tx, { branchId, name: undo.name, isDeleting: false });
    case 'remove_database':
      return deleteDatabaseRow(tx, undo.id);
    case 'keep_database':
      return setDatabaseDeleting(tx, undo.id, false);
    case 'restore_database':
      return restoreDatabaseRow(tx, { ...undo, branchId });
    default:
      return unreachable(undo);
  }
}
