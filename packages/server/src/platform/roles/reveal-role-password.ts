import type { Secret } from '../../kernel/secret.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { getBranchRow } from '../branches/get-branch.ts';
import { printable } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Principal } from '../platform.ts';
import { getPasswordPolicy } from '../projects/password-policy.ts';
import { getRoleRow } from './get-role.ts';

/** @throws PlatformError CONFLICT where no password is stored, or it cannot be opened with this installation's key */
export async function revealRolePassword(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId: string,
  name: string,
): Promise<Secret> {
  const branch = await getBranchRow(context, principal, projectId, branchId);
  const { storePasswords } = await getPasswordPolicy(context.metadata, projectId);
  if (!storePasswords) throw cannotReveal(name, 'the project does not store passwords');
  const { passwordEncrypted, noLogin } = await getRoleRow(context.metadata, branch.id, name);
  if (noLogin) throw cannotReveal(name, 'it may not log in');
  if (!passwordEncrypted) throw cannotReveal(name, 'it was set by SQL or is not set yet. Reset it to get a new one');
  const password = context.passwords.decrypt(passwordEncrypted, { branchId: branch.id, role: name });
  if (!password) throw cannotReveal(name, 'it was stored under another key. Reset it to get a new one');
  return password;
}

const cannotReveal = (name: string, why: string): PlatformError =>
  new PlatformError('CONFLICT', `Cannot reveal the password of role ${printable(name)}: ${why}`);
