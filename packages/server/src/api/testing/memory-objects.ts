import { newBranchId, newEndpointId, newSnapshotId, type BranchId, type ProjectId } from '@tenantry/contract/ids.ts';
import type { Branch, Endpoint, ProjectUsage, Role, Snapshot } from '../../platform/platform.ts';

/** The one moment at which everything in memory happens. */
export const NOW = new Date('2026-11-22T10:11:12.345Z');

export const NO_USAGE: ProjectUsage = {
  periodStart: new Date('2026-11-01T00:00:00Z'),
  periodEnd: new Date('2026-12-01T00:00:00Z'),
  activeTimeSeconds: 0,
  computeTimeSeconds: 0,
  cpuUsedSeconds: 0,
  writtenDataBytes: 0,
  dataTransferBytes: 0,
  dataStorageBytesHour: 0,
  logicalBytes: 30_000_000,
};

export const newBranch = (projectId: ProjectId, name: string, isDefault = true): Branch => ({
  id: newBranchId(),
  projectId,
  parentId: null,
  name,
  state: 'ready',
  pendingState: null,
  stateChangedAt: NOW,
  isDefault,
  isProtected: false,
  logicalBytes: null,
  initSource: 'parent-data',
  parentLsn: null,
  parentTimestamp: null,
  expiresAt: null,
  ttlSeconds: null,
  lastResetAt: null,
  restoredFrom: null,
  restoredAs: null,
  restoreStatus: null,
  deletedAt: null,
  recoverableUntil: null,
  annotations: {},
  createdByName: 'Operator',
  createdAt: NOW,
  updatedAt: NOW,
  usage: NO_USAGE,
});

export const newEndpoint = (branch: Branch, regionId: string, type: Endpoint['type'] = 'read_write'): Endpoint => ({
  id: newEndpointId(),
  branchId: branch.id,
  projectId: branch.projectId,
  name: null,
  type,
  hostname: 'localhost',
  regionId,
  minCu: 0.25,
  maxCu: 0.25,
  suspendTimeoutSeconds: 0,
  disabled: false,
  poolerEnabled: false,
  pgSettings: {},
  state: 'idle',
  pendingState: null,
  computeReleaseVersion: null,
  creationSource: 'console',
  createdAt: NOW,
  updatedAt: NOW,
  startedAt: null,
  suspendedAt: null,
  lastActiveAt: null,
  replicaLagBytes: null,
});

export const newRole = (branchId: BranchId, name: string): Role => ({
  branchId,
  name,
  isProtected: false,
  createdAt: NOW,
  updatedAt: NOW,
});

export const newSnapshot = (branch: Branch, name: string): Snapshot => ({
  id: newSnapshotId(),
  projectId: branch.projectId,
  name,
  lsn: '0/16B3748',
  timestamp: NOW.toISOString(),
  sourceBranchId: branch.id,
  createdAt: NOW,
  expiresAt: null,
  isManual: true,
  fullBytes: 30_000_000,
});
