import { newBranchId, newVolumeId } from '@tenantry/contract/ids.ts';
import { must } from '../../kernel/assert.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { checkName, notFound, printable } from '../checks.ts';
import { runCommand, type Command } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { assertRoom } from '../hosts/assert-room.ts';
import type { BranchChange, Principal, RestoreBranchInput } from '../platform.ts';
import { lockProject } from '../projects/project-rows.ts';
import { bringBack } from './bring-back.ts';
import { checkMoment } from './branch-checks.ts';
import { insertBranch } from './branch-changes.ts';
import {
  countBranches,
  findBranchRow,
  findBranchVolumeId,
  hasBranchName,
  listChildren,
  type BranchRow,
} from './branch-rows.ts';
import { getBranch, getBranchRow } from './get-branch.ts';
import { restoreBranchOperation, type RestoreInput } from './restore-operation.ts';
import { checkBranchLimits } from './new-branch.ts';
import { planReplicaSwaps } from './restore-replicas.ts';
import { markResetting } from './restore-rows.ts';

/**
 * Gives a branch the data that a branch of the project (itself, its parent or any other) had at a moment. Id, endpoints,
 * roles' passwords and connection strings stay; clients that are connected are ended. docs/decisions/0008-restore.md
 * has the rules.
 * @throws PlatformError NOT_FOUND, INVALID_REQUEST, MOMENT_OUT_OF_HISTORY, CONFLICT, ALREADY_EXISTS, PROJECT_LOCKED
 */
export async function restoreBranch(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
  input: RestoreBranchInput,
): Promise<BranchChange> {
  const target = await bringBack(context, await getBranchRow(context, principal, projectId, branchId));
  const source = await bringBack(context, await getBranchRow(context, principal, projectId, input.sourceBranchId));
  const at = checkMoment(input.at ?? {}, context.now(), 'source_');
  checkInput(input, target);
  checkSource(source, target);
  const sourceVolumeId = must(await findBranchVolumeId(context.metadata, source.id));
  await context.host.findMoment(sourceVolumeId, at);
  await assertRoom(context);
  const { operations } = await runCommand(context, async (command) => {
    const { tx } = command;
    if (!(await lockProject(tx, projectId))) throw notFound('project', projectId);
    const present = await findBranchRow(tx, projectId, target.id);
    if (!present) throw notFound('branch', branchId);
    await checkTarget(command, present, input);
    const backupId = await reserveBackup(command, present, { input, creatorUserId: principal.userId });
    const order: RestoreInput = {
      projectId,
      branchId: present.id,
      sourceBranchId: source.id,
      at,
      oldVolumeId: must(await findBranchVolumeId(tx, present.id)),
      volumeId: newVolumeId(),
      backupId,
      isReset: at.kind === 'head' && source.id === present.parentId,
      replicas: await planReplicaSwaps(tx, present.id),
    };
    await markResetting(tx, present.id);
    await command.enqueue(restoreBranchOperation, order, { projectId, branchId: present.id });
  });
  return { branch: await getBranch(context, principal, projectId, branchId), operations };
}

function checkInput({ sourceBranchId, at, preserveUnderName }: RestoreBranchInput, target: BranchRow): void {
  if (preserveUnderName !== undefined) checkName('preserve_under_name', preserveUnderName);
  if (sourceBranchId !== target.id) return;
  if (at?.lsn === undefined && at?.timestamp === undefined) {
    throw new PlatformError(
      'INVALID_REQUEST',
      'Cannot restore a branch to itself without a moment: give source_lsn or source_timestamp',
    );
  }
  if (preserveUnderName === undefined) {
    throw new PlatformError(
      'INVALID_REQUEST',
      'Cannot restore a branch to its own past without a backup: give preserve_under_name',
    );
  }
}

function checkSource(source: BranchRow, target: BranchRow): void {
  if (source.id === target.id) return;
  if (source.state !== 'ready') throw cannotTakeFrom(source, `it is ${source.state}. Retry once it is ready`);
  if (source.expiresAt !== null) {
    throw cannotTakeFrom(source, 'it would become the parent, and it expires. Remove its expires_at first');
  }
}

const cannotTakeFrom = ({ id }: BranchRow, why: string): PlatformError =>
  new PlatformError('CONFLICT', `Cannot restore from branch ${id}: ${why}`);

async function checkTarget({ tx }: Command, target: BranchRow, input: RestoreBranchInput): Promise<void> {
  checkReplaceable(target);
  if (input.preserveUnderName !== undefined) return;
  const children = (await listChildren(tx, target.id)).filter(({ isDeleted }) => !isDeleted);
  if (children.length > 0) {
    throw new PlatformError(
      'CONFLICT',
      `Cannot restore branch ${target.id}: it has children. Give preserve_under_name, and they move to that branch`,
    );
  }
}

/** @throws PlatformError CONFLICT, PROJECT_LOCKED if the data of the branch may not be replaced now */
export function checkReplaceable({ id, isProtected, state }: BranchRow): void {
  if (isProtected) {
    throw new PlatformError(
      'CONFLICT',
      `Cannot restore branch ${id}: it is protected. Set branch.protected to false first`,
    );
  }
  if (state === 'ready') return;
  throw new PlatformError('PROJECT_LOCKED', `Cannot restore branch ${id}: another operation is making it. Retry soon`);
}

interface Reservation {
  readonly input: RestoreBranchInput;
  readonly creatorUserId: string;
}

/** A row with the name, so that nobody takes it meanwhile. The volume becomes its own with the swap. */
async function reserveBackup(
  { tx }: Command,
  target: BranchRow,
  { input: { preserveUnderName: name }, creatorUserId }: Reservation,
): Promise<string | null> {
  if (name === undefined) return null;
  await checkBranchName(tx, { projectId: target.projectId, name, field: 'preserve_under_name' });
  checkBranchLimits(await countBranches(tx, target.projectId), { isRoot: false, isProtected: false });
  const id = newBranchId();
  const parentId = target.parentId ?? undefined;
  await insertBranch(tx, { id, projectId: target.projectId, name, creatorUserId, parentId });
  return id;
}

/** @throws PlatformError ALREADY_EXISTS */
export async function checkBranchName(
  tx: Command['tx'],
  { projectId, name, field }: { readonly projectId: string; readonly name: string; readonly field: string },
): Promise<void> {
  if (!(await hasBranchName(tx, projectId, name))) return;
  throw new PlatformError('ALREADY_EXISTS', `Cannot accept ${field}: a branch ${printable(name)} exists already`);
}
