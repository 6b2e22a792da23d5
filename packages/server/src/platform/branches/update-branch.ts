import { badField, checkName, printable } from '../checks.ts';
import { PlatformError } from '../../kernel/errors.ts';
import type { Command } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { listEndpointIds } from '../endpoints/endpoint-rows.ts';
import type { BranchChange, Principal, UpdateBranchInput } from '../platform.ts';
import { checkAnnotations, checkExpiration } from './branch-checks.ts';
import { setAnnotations, type Expiration } from './branch-changes.ts';
import { countBranches, hasBranchName, listChildren, type BranchRow } from './branch-rows.ts';
import { changeBranch } from './change-branch.ts';
import { nameIsTaken } from './create-branch.ts';
import { getBranch, getBranchRow } from './get-branch.ts';
import { checkProtectedLimit } from './new-branch.ts';

/** @throws PlatformError INVALID_REQUEST, ALREADY_EXISTS, CONFLICT, BRANCHES_PROTECTED_LIMIT_EXCEEDED */
export async function updateBranch(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
  input: UpdateBranchInput,
): Promise<BranchChange> {
  await getBranchRow(context, principal, projectId, branchId);
  const { operations } = await changeBranch(context, { projectId, branchId }, (command, branch) =>
    change(context, command, branch, input),
  );
  return { branch: await getBranch(context, principal, projectId, branchId), operations };
}

async function change(
  { now }: PlatformContext,
  command: Command,
  branch: BranchRow,
  input: UpdateBranchInput,
): Promise<void> {
  const { tx } = command;
  const { id, projectId } = branch;
  const name = input.name === undefined ? branch.name : checkName('branch.name', input.name);
  if (name !== branch.name && (await hasBranchName(tx, projectId, name))) throw nameIsTaken(name);
  const isProtected = input.isProtected ?? branch.isProtected;
  if (isProtected && !branch.isProtected) checkProtectedLimit(await countBranches(tx, projectId));
  const expiration = toExpiration(branch, input, now());
  if (expiration) await checkMayExpire(command, { ...branch, isProtected });
  if (input.annotations) await setAnnotations(tx, id, checkAnnotations(input.annotations, 'annotation_value'));
  await tx
    .updateTable('branches')
    .set({
      name,
      is_protected: isProtected,
      expires_at: expiration?.expiresAt ?? null,
      ttl_seconds: expiration?.ttlSeconds ?? null,
      updated_at: now(),
    })
    .where('id', '=', id)
    .execute();
  // Who may connect from where can depend on it.
  if (isProtected !== branch.isProtected) command.changeDirectory(await listEndpointIds(tx, { branchId: id }));
}

function toExpiration(
  { expiresAt, ttlSeconds }: BranchRow,
  input: UpdateBranchInput,
  now: Date,
): Expiration | undefined {
  if (input.expiresAt === null) return undefined;
  if (input.expiresAt !== undefined) return checkExpiration(input.expiresAt, now);
  return expiresAt && ttlSeconds !== null ? { expiresAt, ttlSeconds } : undefined;
}

async function checkMayExpire({ tx }: Command, branch: BranchRow): Promise<void> {
  if (branch.isProtected) throw badField('branch.expires_at', 'nothing but null on a protected branch');
  const why = branch.isDefault
    ? 'it is the default branch'
    : (await listChildren(tx, branch.id)).some((child) => !child.isDeleted)
      ? 'other branches were made from it'
      : undefined;
  if (why === undefined) return;
  throw new PlatformError('CONFLICT', `Cannot have branch ${printable(branch.name)} expire: ${why}`);
}
