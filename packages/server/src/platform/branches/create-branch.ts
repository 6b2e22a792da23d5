import { newBranchId, newEndpointId, type BranchId, type EndpointId } from '@tenantry/contract/ids.ts';
import { must } from '../../kernel/assert.ts';
import { PlatformError } from '../../kernel/errors.ts';
import type { Secret } from '../../kernel/secret.ts';
import { findLastPendingSeq, lockBranch } from '../catalog/catalog-change-rows.ts';
import { notFound, printable } from '../checks.ts';
import { awaitOperations, runCommand, type Command } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { listDatabaseRows } from '../databases/database-rows.ts';
import { insertEndpoint, listEndpointRows } from '../endpoints/endpoint-rows.ts';
import { startCompute } from '../endpoints/start-endpoint.ts';
import { assertRoom } from '../hosts/assert-room.ts';
import type { CreateBranchInput, CreatedBranch, Operation, Principal } from '../platform.ts';
import { getProjectAccess } from '../projects/project-access.ts';
import { findProjectRow, lockProject, type ProjectRow } from '../projects/project-rows.ts';
import { listRoleRows } from '../roles/role-rows.ts';
import { bringBack } from './bring-back.ts';
import { insertBranch } from './branch-changes.ts';
import { checkReady } from './branch-checks.ts';
import {
  countBranches,
  findBranchVolumeId,
  findDefaultBranchId,
  hasBranchName,
  type BranchRow,
} from './branch-rows.ts';
import { connectionsOf } from './connections-of.ts';
import { copyCatalog } from './copy-catalog.ts';
import { createBranchVolume } from './create-branch-volume.ts';
import { getBranch, getBranchRow, getBranchRowIn } from './get-branch.ts';
import { checkBranchLimits, checkNewBranch, type CheckedBranch } from './new-branch.ts';

/**
 * A branch of another at a moment, or of its schema alone. Answers once the volume is there; computes go on starting,
 * and a connect joins them. If the volume cannot be made, nothing is left of the branch.
 * @throws PlatformError INVALID_REQUEST, MOMENT_OUT_OF_HISTORY, ALREADY_EXISTS, PROJECT_LOCKED, CONFLICT, ...
 */
export async function createBranch(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  input: CreateBranchInput,
): Promise<CreatedBranch> {
  const { metadata, settings } = context;
  await getProjectAccess(metadata, principal, projectId);
  const project = await findProjectRow(metadata, projectId);
  if (!project) throw notFound('project', projectId);
  const branchId = newBranchId();
  const wanted = checkNewBranch(context, project, input, branchId);
  const parentId = input.parentId ?? (await findDefaultBranchId(metadata, projectId)) ?? '';
  const parent = await bringBack(context, await getBranchRow(context, principal, projectId, parentId));
  checkParent(parent);
  await assertRoom(context);
  // Here, so that a moment that is not kept is refused before there is anything.
  const source = must(await findBranchVolumeId(metadata, parent.id), 'the branch has just been there');
  if (wanted.at.kind !== 'head') await context.host.findMoment(source, wanted.at);

  const { value: passwords, operations } = await runCommand(
    context,
    (command) =>
      insertAll(context, command, { project, parentId: parent.id, branchId, wanted, creatorUserId: principal.userId }),
    settings.createWaitMs,
  );
  try {
    return await present(context, principal, { projectId, branchId, passwords, operations });
  } catch (error) {
    // The creation may have failed just after the wait, and been undone.
    const [creation] = operations;
    if (creation) await awaitOperations(context, [creation.id], settings.answerWaitMs);
    throw error;
  }
}

function checkParent(parent: BranchRow): void {
  checkReady(parent, 'create the branch');
  if (parent.expiresAt) {
    throw new PlatformError(
      'CONFLICT',
      `Cannot create the branch: its parent ${printable(parent.name)} expires. Set its branch.expires_at to null first`,
    );
  }
}

interface NewBranchRows {
  readonly project: ProjectRow;
  readonly parentId: BranchId;
  readonly branchId: BranchId;
  readonly wanted: CheckedBranch;
  readonly creatorUserId: string;
}

/** @returns the new passwords by role; none where they are the parent's */
async function insertAll(
  { passwords }: PlatformContext,
  command: Command,
  { project, parentId, branchId, wanted, creatorUserId }: NewBranchRows,
): Promise<ReadonlyMap<string, Secret>> {
  const { tx } = command;
  const { name, isSchemaOnly, isProtected, expiration, annotations } = wanted;
  const { id: projectId, storePasswords } = project;
  // One at a time, so that they are counted, and no parent is deleted meanwhile.
  if (!(await lockProject(tx, projectId))) throw notFound('project', projectId);
  if (!(await lockBranch(tx, parentId))) throw notFound('branch', parentId);
  const parent = await getBranchRowIn(tx, projectId, parentId);
  checkParent(parent);
  checkBranchLimits(await countBranches(tx, projectId), { isRoot: isSchemaOnly, isProtected });
  if (await hasBranchName(tx, projectId, name)) throw nameIsTaken(name);

  const ofParent = isSchemaOnly ? {} : { parentId };
  const initSource = isSchemaOnly ? 'schema-only' : 'parent-data';
  const row = {
    id: branchId,
    projectId,
    name,
    creatorUserId,
    initSource,
    isProtected,
    expiration,
    annotations,
  } as const;
  await insertBranch(tx, { ...row, ...ofParent });
  const newPasswords = await copyCatalog(tx, {
    fromBranchId: parentId,
    toBranchId: branchId,
    passwords,
    renewal: parent.isProtected ? { storePasswords } : undefined,
  });
  const endpoints: { readonly id: EndpointId; readonly type: string }[] = [];
  for (const endpoint of wanted.endpoints) {
    const id = newEndpointId();
    await insertEndpoint(tx, { ...endpoint, id, projectId, branchId });
    endpoints.push({ id, type: endpoint.type });
  }
  command.changeDirectory(endpoints.map(({ id }) => id));

  const source = must(await findBranchVolumeId(tx, parentId), 'the branch is locked');
  const input = { projectId, branchId, source, at: wanted.at, isSchemaOnly };
  const creation = await command.enqueue(createBranchVolume, input, { projectId, branchId });
  const catalogSeq = await findLastPendingSeq(tx, branchId);
  for (const { id: endpointId, type } of endpoints) {
    await command.enqueue(
      startCompute,
      { endpointId, catalogSeq: type === 'read_write' ? catalogSeq : 0 },
      { projectId, branchId, endpointId, dependsOn: [creation] },
      { inBackground: true },
    );
  }
  return newPasswords;
}

export const nameIsTaken = (name: string): PlatformError =>
  new PlatformError('ALREADY_EXISTS', `Cannot use the name ${printable(name)}: another branch of the project has it`);

interface Made {
  readonly projectId: string;
  readonly branchId: BranchId;
  readonly passwords: ReadonlyMap<string, Secret>;
  readonly operations: readonly Operation[];
}

async function present(
  context: PlatformContext,
  principal: Principal,
  { projectId, branchId, passwords, operations }: Made,
): Promise<CreatedBranch> {
  const { metadata, settings } = context;
  const [branch, endpoints, roles, databases] = await Promise.all([
    getBranch(context, principal, projectId, branchId),
    listEndpointRows(metadata, { projectId, branchId }, settings.domain),
    listRoleRows(metadata, branchId),
    listDatabaseRows(metadata, branchId),
  ]);
  const shown = databases.filter((database) => !database.isDeleting);
  const connections = await connectionsOf(context, { endpoints, roles, databases: shown, passwords });
  return { branch, endpoints, roles, passwords, databases: shown, connections, operations };
}
