import type { Platform } from '../../platform/platform.ts';
import { newBranch, newSnapshot } from './memory-objects.ts';
import { newStoredBranch, type MemoryStore } from './memory-store.ts';

export function memorySnapshots(store: MemoryStore): Platform['snapshots'] {
  return {
    create: async (_principal, projectId, branchId, { name = 'snapshot', expiresAt = null }) => {
      const snapshot = { ...newSnapshot(store.findBranch(projectId, branchId).branch, name), expiresAt };
      store.find(projectId).snapshots.set(snapshot.id, snapshot);
      return { snapshot, operations: [] };
    },
    list: async (_principal, projectId) => [...store.find(projectId).snapshots.values()],
    update: async (_principal, projectId, snapshotId, { name, expiresAt }) => {
      const snapshot = {
        ...store.findSnapshot(projectId, snapshotId),
        ...(name !== undefined && { name }),
        ...(expiresAt !== undefined && { expiresAt }),
      };
      store.find(projectId).snapshots.set(snapshotId, snapshot);
      return snapshot;
    },
    delete: async (_principal, projectId, snapshotId) => {
      const { sourceBranchId } = store.findSnapshot(projectId, snapshotId);
      store.find(projectId).snapshots.delete(snapshotId);
      return [store.order(projectId, 'delete_timeline', { branchId: sourceBranchId })];
    },
    restore: async (_principal, projectId, snapshotId, { name, targetBranchId, isFinal = false }) => {
      const snapshot = store.findSnapshot(projectId, snapshotId);
      const branch = {
        ...newBranch(projectId, name ?? `${snapshot.name}-restored`, false),
        restoredFrom: snapshot.id,
        restoredAs: targetBranchId === undefined ? null : store.findBranch(projectId, targetBranchId).branch.id,
        restoreStatus: isFinal ? ('finalized' as const) : ('restored' as const),
      };
      store.find(projectId).branches.set(branch.id, newStoredBranch(branch));
      return { branch, operations: [store.order(projectId, 'create_branch', { branchId: branch.id })] };
    },
    schedule: async (_principal, projectId, branchId) => store.findBranch(projectId, branchId).schedule,
    setSchedule: async (_principal, projectId, branchId, items) =>
      (store.findBranch(projectId, branchId).schedule = items),
  };
}
