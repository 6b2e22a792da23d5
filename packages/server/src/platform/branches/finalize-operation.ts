import { sql, type Transaction } from 'kysely';
import { PlatformError } from '../../kernel/errors.ts';
import type { Tables } from '../../metadata/tables.ts';
import { done, goto, type OperationDefinition } from '../../operations/operation.ts';
import { dropPending, orderCatalog, raiseCatalogSeq, readCatalog } from '../catalog/catalog-copy.ts';
import { transact } from '../command/transact.ts';
import { unlessFull } from '../command/unless-full.ts';
import type { PlatformDeps } from '../context.ts';
import { insertHostRemovals } from '../hosts/host-removal-rows.ts';
import { removeFromHost } from '../hosts/remove-from-host.ts';
import { findBranchVolumeId, hasBranchName } from './branch-rows.ts';
import { freeName } from './free-name.ts';
import { changeEndpoints, pushBranch } from './restore-operation.ts';
import { makeReplicaVolumes, swapReplicaVolumes, type ReplicaSwap } from './restore-replicas.ts';
import { lockBranchRow, undoRestore } from './restore-rows.ts';

export interface FinalizeInput {
  readonly projectId: string;
  /** Made from a snapshot. */
  readonly branchId: string;
  readonly targetId: string;
  /** Null: made of the present one. */
  readonly targetName: string | null;
  /** Read-only endpoints that go from the target to the branch, and the other way. */
  readonly fromTarget: readonly ReplicaSwap[];
  readonly fromBranch: readonly ReplicaSwap[];
}

/** Exchanges the places of two branches: new volumes for replicas first, then all rows at once, then the host. */
export const finalizeRestoreOperation: OperationDefinition<FinalizeInput, PlatformDeps> = {
  kind: 'finalize_restore',
  action: 'apply_config',
  deadlineMs: 60 * 60_000,
  stepDeadlineMs: 20 * 60_000,
  firstStep: 'makeReplicas',
  steps: {
    makeReplicas: async ({ deps }, { projectId, branchId, targetId, fromTarget, fromBranch }) => {
      const make = async (id: string, replicas: readonly ReplicaSwap[]): Promise<void> => {
        const source = await findBranchVolumeId(deps.metadata, id);
        if (source === undefined) throw gone(id);
        await unlessFull('finalize the restore', makeReplicaVolumes(deps, { projectId, source }, replicas));
      };
      await make(branchId, fromTarget);
      await make(targetId, fromBranch);
      return goto('exchange');
    },
    exchange: async ({ deps }, input) => {
      await exchange(deps, input);
      return goto('push');
    },
    push: async ({ deps }, { branchId, targetId }) => {
      await pushBranch(deps, branchId);
      await pushBranch(deps, targetId);
      return goto('clean');
    },
    clean: async ({ deps }, { projectId }) => {
      await removeFromHost(deps, projectId);
      return done;
    },
  },
  onFailure: async ({ deps }, { projectId, branchId, targetId, fromTarget, fromBranch }) => {
    await transact(deps, async ({ tx }) => {
      // Then the host is told by the next look at what is left to be done.
      if ((await lockBranchRow(tx, branchId))?.restore_status === 'finalized') return;
      await undoRestore(tx, targetId, null);
      const volumeIds = [...fromTarget, ...fromBranch].map((replica) => replica.volumeId);
      await insertHostRemovals(tx, projectId, { volumeIds });
    });
    await removeFromHost(deps, projectId);
  },
};

const gone = (id: string): PlatformError =>
  new PlatformError('CONFLICT', `Cannot finalize the restore: branch ${id} is gone`);

async function exchange(deps: PlatformDeps, input: FinalizeInput): Promise<void> {
  const { projectId, branchId, targetId } = input;
  await transact(deps, async (work) => {
    const { tx } = work;
    const target = await lockBranchRow(tx, targetId);
    const branch = await lockBranchRow(tx, branchId);
    if (!target || target.deleted_at !== null) throw gone(targetId);
    if (!branch || branch.deleted_at !== null) throw gone(branchId);
    if (branch.restore_status === 'finalized') return;
    const targetName =
      input.targetName ?? (await freeName(`${target.name} (old)`, (name) => hasBranchName(tx, projectId, name)));
    const isDefault = target.is_default;
    const now = deps.now();
    const common = { state: 'ready', pending_state: null, state_changed_at: now, updated_at: now } as const;
    await tx
      .updateTable('branches')
      .set({ ...common, name: targetName, is_default: false, backup_of: branchId })
      .where('id', '=', targetId)
      .execute();
    await tx
      .updateTable('branches')
      .set({
        ...common,
        name: target.name,
        restore_status: 'finalized',
        // What stands for a branch that stays, stays.
        expires_at: null,
        ttl_seconds: null,
        is_default: isDefault || branch.is_default,
      })
      .where('id', '=', branchId)
      .execute();
    await exchangeEndpoints(tx, targetId, branchId);
    await tx.deleteFrom('snapshot_schedules').where('branch_id', '=', branchId).execute();
    await tx.updateTable('snapshot_schedules').set({ branch_id: branchId }).where('branch_id', '=', targetId).execute();
    await renumber(tx, branchId, Number(target.catalog_seq));
    await renumber(tx, targetId, Number(branch.catalog_seq));
    await swapReplicaVolumes(tx, projectId, [...input.fromTarget, ...input.fromBranch]);
    await changeEndpoints(work, branchId);
    await changeEndpoints(work, targetId);
  });
}

/** The rows of one side leave the table meanwhile, since a branch has one read-write endpoint at any moment. */
async function exchangeEndpoints(tx: Transaction<Tables>, targetId: string, branchId: string): Promise<void> {
  const { rows } = await sql<{ row: object }>`
    delete from endpoints where branch_id = ${branchId} returning to_jsonb(endpoints) as row`.execute(tx);
  await tx.updateTable('endpoints').set({ branch_id: branchId }).where('branch_id', '=', targetId).execute();
  for (const { row } of rows) {
    const moved = JSON.stringify({ ...row, branch_id: targetId });
    await sql`insert into endpoints select * from jsonb_populate_record(null::endpoints, ${moved}::jsonb)`.execute(tx);
  }
}

/** An endpoint that comes from another branch has applied changes up to that one's number: what is pending comes after. */
async function renumber(tx: Transaction<Tables>, branchId: string, aboveSeq: number): Promise<void> {
  const catalog = await readCatalog(tx, branchId);
  await dropPending(tx, branchId);
  await raiseCatalogSeq(tx, branchId, aboveSeq);
  await orderCatalog(tx, catalog);
}
