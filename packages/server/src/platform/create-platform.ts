import type { OperationDefinition, OperationEngine } from '../operations/operation.ts';
import { Authenticator } from './accounts/authenticator.ts';
import { getMe, listMyOrganizations } from './accounts/get-me.ts';
import { createApiKey } from './api-keys/create-api-key.ts';
import { listApiKeys } from './api-keys/list-api-keys.ts';
import { revokeApiKey } from './api-keys/revoke-api-key.ts';
import { archiveBranchOperation, unarchiveBranchOperation } from './branches/archive-operation.ts';
import { compareSchema } from './branches/compare-schema.ts';
import { createBranch } from './branches/create-branch.ts';
import { createBranchVolume } from './branches/create-branch-volume.ts';
import { deleteBranch } from './branches/delete-branch.ts';
import { finalizeRestoreOperation } from './branches/finalize-operation.ts';
import { finalizeRestore } from './branches/finalize-restore.ts';
import { getBranch } from './branches/get-branch.ts';
import { getSchema } from './branches/get-schema.ts';
import { listBranches } from './branches/list-branches.ts';
import { recoverBranch } from './branches/recover-branch.ts';
import { restoreBranch } from './branches/restore-branch.ts';
import { restoreBranchOperation } from './branches/restore-operation.ts';
import { setDefaultBranch } from './branches/set-default-branch.ts';
import { updateBranch } from './branches/update-branch.ts';
import { applyCatalogChange } from './catalog/order-catalog-change.ts';
import type { PlatformContext, PlatformDeps } from './context.ts';
import { createDatabase } from './databases/create-database.ts';
import { deleteDatabase } from './databases/delete-database.ts';
import { getDatabase } from './databases/get-database.ts';
import { listDatabases } from './databases/list-databases.ts';
import { updateDatabase } from './databases/update-database.ts';
import { applyEndpointSpec } from './endpoints/apply-endpoint-spec.ts';
import { createEndpoint, makeEndpoint } from './endpoints/create-endpoint.ts';
import { deleteEndpoint } from './endpoints/delete-endpoint.ts';
import { getEndpoint } from './endpoints/get-endpoint.ts';
import { listEndpoints } from './endpoints/list-endpoints.ts';
import { restartCompute, restartEndpoint } from './endpoints/restart-endpoint.ts';
import { startCompute, startEndpoint } from './endpoints/start-endpoint.ts';
import { suspendCompute, suspendEndpoint } from './endpoints/suspend-endpoint.ts';
import { updateEndpoint } from './endpoints/update-endpoint.ts';
import { HostEngines } from './hosts/host-engines.ts';
import { removeEndpoints, removeVolumes } from './hosts/remove-from-host.ts';
import { getOperation } from './operations/get-operation.ts';
import { listOperations } from './operations/list-operations.ts';
import type { Platform, Snapshots } from './platform.ts';
import { applyHistoryRetention } from './projects/apply-history-retention.ts';
import { createProject } from './projects/create-project.ts';
import { createTimeline } from './projects/create-timeline.ts';
import { deleteProject, deleteTimeline } from './projects/delete-project.ts';
import { getConnection } from './projects/get-connection.ts';
import { getProject } from './projects/get-project.ts';
import { listProjects } from './projects/list-projects.ts';
import { updateProject } from './projects/update-project.ts';
import { createRole } from './roles/create-role.ts';
import { deleteRole } from './roles/delete-role.ts';
import { getRole } from './roles/get-role.ts';
import { listRoles } from './roles/list-roles.ts';
import { resetRolePassword } from './roles/reset-role-password.ts';
import { revealRolePassword } from './roles/reveal-role-password.ts';
import { createSnapshot } from './snapshots/create-snapshot.ts';
import { deleteSnapshot } from './snapshots/delete-snapshot.ts';
import { listSnapshots } from './snapshots/get-snapshot.ts';
import { restoreSnapshot, restoreSnapshotOperation } from './snapshots/restore-snapshot.ts';
import { getSnapshotSchedule, setSnapshotSchedule } from './snapshots/snapshot-schedule.ts';
import { takeSnapshot } from './snapshots/take-snapshot.ts';
import { updateSnapshot } from './snapshots/update-snapshot.ts';

/** For `createOperationEngine`, with `PlatformDeps` as what their steps are handed. */
export const operationDefinitions: readonly OperationDefinition<never, PlatformDeps>[] = [
  applyCatalogChange,
  applyEndpointSpec,
  applyHistoryRetention,
  createBranchVolume,
  createTimeline,
  deleteTimeline,
  finalizeRestoreOperation,
  makeEndpoint,
  removeEndpoints,
  removeVolumes,
  restartCompute,
  restoreBranchOperation,
  archiveBranchOperation,
  unarchiveBranchOperation,
  restoreSnapshotOperation,
  startCompute,
  suspendCompute,
  takeSnapshot,
];

/** Binds the verbs of all nouns to what they need. The engine runs elsewhere, with `operationDefinitions`. */
export function createPlatform(deps: PlatformDeps, engine: OperationEngine): Platform {
  const context: PlatformContext = { ...deps, engine };
  const engines = new HostEngines(deps);
  const authenticator = new Authenticator(deps);
  return {
    projects: {
      create: (principal, input) => createProject(context, engines, principal, input),
      list: (principal, page) => listProjects(context, principal, page),
      get: (principal, projectId) => getProject(context, principal, projectId),
      update: (principal, projectId, input) => updateProject(context, principal, projectId, input),
      delete: (principal, projectId) => deleteProject(context, principal, projectId),
      connection: (principal, projectId, query) => getConnection(context, principal, projectId, query),
    },
    branches: {
      list: (principal, projectId, page) => listBranches(context, principal, projectId, page),
      get: (principal, projectId, branchId) => getBranch(context, principal, projectId, branchId),
      create: (principal, projectId, input) => createBranch(context, principal, projectId, input),
      update: (principal, projectId, id, input) => updateBranch(context, principal, projectId, id, input),
      setDefault: (principal, projectId, branchId) => setDefaultBranch(context, principal, projectId, branchId),
      delete: (principal, projectId, id, options) => deleteBranch(context, principal, projectId, id, options),
      recover: (principal, projectId, branchId) => recoverBranch(context, principal, projectId, branchId),
      restore: (principal, projectId, id, input) => restoreBranch(context, principal, projectId, id, input),
      finalizeRestore: (principal, projectId, branchId, input) =>
        finalizeRestore(context, principal, { projectId, branchId }, input),
      schema: (principal, projectId, branchId, query) => getSchema(context, principal, { projectId, branchId }, query),
      compareSchema: (principal, projectId, branchId, query) =>
        compareSchema(context, principal, { projectId, branchId }, query),
    },
    snapshots: bindSnapshots(context),
    endpoints: {
      list: (principal, projectId, branchId) => listEndpoints(context, principal, projectId, branchId),
      get: (principal, projectId, id) => getEndpoint(context, principal, projectId, id),
      create: (principal, projectId, input) => createEndpoint(context, principal, projectId, input),
      delete: (principal, projectId, id) => deleteEndpoint(context, principal, projectId, id),
      update: (principal, projectId, id, input) => updateEndpoint(context, principal, projectId, id, input),
      start: (principal, projectId, id) => startEndpoint(context, principal, projectId, id),
      suspend: (principal, projectId, id) => suspendEndpoint(context, principal, projectId, id),
      restart: (principal, projectId, id) => restartEndpoint(context, principal, projectId, id),
    },
    roles: {
      list: (principal, projectId, branchId) => listRoles(context, principal, projectId, branchId),
      get: (principal, projectId, branchId, name) => getRole(context, principal, projectId, branchId, name),
      create: (principal, projectId, branchId, input) => createRole(context, principal, projectId, branchId, input),
      delete: (principal, projectId, branchId, name) => deleteRole(context, principal, projectId, branchId, name),
      resetPassword: (principal, projectId, branchId, name) =>
        resetRolePassword(context, principal, projectId, branchId, name),
      revealPassword: (principal, projectId, branchId, name) =>
        revealRolePassword(context, principal, projectId, branchId, name),
    },
    databases: {
      list: (principal, projectId, branchId) => listDatabases(context, principal, projectId, branchId),
      get: (principal, projectId, branchId, name) => getDatabase(context, principal, projectId, branchId, name),
      create: (principal, projectId, branchId, input) => createDatabase(context, principal, projectId, branchId, input),
      update: (principal, projectId, branchId, name, input) =>
        updateDatabase(context, principal, { projectId, branchId, name }, input),
      delete: (principal, projectId, branchId, name) => deleteDatabase(context, principal, projectId, branchId, name),
    },
    operations: {
      list: (principal, projectId, page) => listOperations(context, principal, projectId, page),
      get: (principal, projectId, operationId) => getOperation(context, principal, projectId, operationId),
    },
    apiKeys: {
      create: (principal, name) => createApiKey(context, principal, name),
      list: (principal) => listApiKeys(context, principal),
      revoke: (principal, apiKeyId) => revokeApiKey(context, authenticator, principal, apiKeyId),
    },
    accounts: {
      authenticate: (key, fromAddress) => authenticator.authenticate(key, fromAddress),
      me: (principal) => getMe(context, principal),
      organizations: (principal) => listMyOrganizations(context, principal),
    },
  };
}

const bindSnapshots = (context: PlatformContext): Snapshots => ({
  create: (principal, projectId, branchId, input) => createSnapshot(context, principal, projectId, branchId, input),
  list: (principal, projectId) => listSnapshots(context, principal, projectId),
  update: (principal, projectId, snapshotId, input) =>
    updateSnapshot(context, principal, { projectId, snapshotId }, input),
  delete: (principal, projectId, snapshotId) => deleteSnapshot(context, principal, projectId, snapshotId),
  restore: (principal, projectId, snapshotId, input) =>
    restoreSnapshot(context, principal, { projectId, snapshotId }, input),
  schedule: (principal, projectId, branchId) => getSnapshotSchedule(context, principal, projectId, branchId),
  setSchedule: (principal, projectId, branchId, items) =>
    setSnapshotSchedule(context, principal, { projectId, branchId }, items),
});
