import { Branch } from './branch.ts';
import { Endpoint } from './endpoint.ts';
import { operations } from './operation.ts';
import { branchParams, projectParams, route, snapshotParams } from './route.ts';
import { requestObject, text, Type } from './schema.ts';
import {
  BackupSchedule,
  BackupScheduleBody,
  BranchFinalizeBody,
  BranchRestoreBody,
  Snapshot,
  SnapshotCreateBody,
  snapshotFields,
  SnapshotRestoreBody,
  SnapshotUpdateBody,
} from './snapshot.ts';

const BRANCH = '/projects/{project_id}/branches/{branch_id}';
const SNAPSHOTS = '/projects/{project_id}/snapshots';
const SNAPSHOT = `${SNAPSHOTS}/{snapshot_id}`;

/** Restoring branches: in place, and by way of snapshots. */
export const snapshotRoutes = {
  restoreProjectBranch: route('POST', `${BRANCH}/restore`, {
    tag: 'Branch',
    summary: 'Give a branch the data of a moment',
    params: branchParams,
    body: BranchRestoreBody,
    response: Type.Object({ branch: Branch, ...operations }),
  }),
  finalizeRestoreBranch: route('POST', `${BRANCH}/finalize_restore`, {
    tag: 'Branch',
    summary: 'Put a branch made from a snapshot in the place of the branch that it restores',
    params: branchParams,
    body: BranchFinalizeBody,
    response: Type.Object(operations),
  }),
  createSnapshot: route('POST', `${BRANCH}/snapshot`, {
    tag: 'Snapshot',
    summary: 'Take a snapshot',
    params: branchParams,
    query: requestObject(snapshotFields),
    body: SnapshotCreateBody,
    response: Type.Object({ snapshot: Snapshot, ...operations }),
  }),
  getSnapshotSchedule: route('GET', `${BRANCH}/backup_schedule`, {
    tag: 'Snapshot',
    summary: 'Get the schedule of snapshots',
    params: branchParams,
    response: BackupSchedule,
  }),
  setSnapshotSchedule: route('PUT', `${BRANCH}/backup_schedule`, {
    tag: 'Snapshot',
    summary: 'Set the schedule of snapshots',
    params: branchParams,
    body: BackupScheduleBody,
    response: Type.Object({}),
  }),
  listSnapshots: route('GET', SNAPSHOTS, {
    tag: 'Snapshot',
    summary: 'List snapshots',
    params: projectParams,
    response: Type.Object({ snapshots: Type.Array(Snapshot) }),
  }),
  updateSnapshot: route('PATCH', SNAPSHOT, {
    tag: 'Snapshot',
    summary: 'Rename a snapshot, or change when it expires',
    params: snapshotParams,
    body: SnapshotUpdateBody,
    response: Type.Object({ snapshot: Snapshot }),
  }),
  deleteSnapshot: route('DELETE', SNAPSHOT, {
    tag: 'Snapshot',
    summary: 'Delete a snapshot',
    params: snapshotParams,
    status: 202,
    response: Type.Object(operations),
  }),
  restoreSnapshot: route('POST', `${SNAPSHOT}/restore`, {
    tag: 'Snapshot',
    summary: 'Make a branch from a snapshot',
    params: snapshotParams,
    query: requestObject({ name: Type.Optional(text(1, 256, 'Old place of name in the body.')) }),
    body: SnapshotRestoreBody,
    response: Type.Object({ branch: Branch, endpoints: Type.Array(Endpoint), ...operations }),
  }),
} as const;
