import { createTwoFilesPatch, FILE_HEADERS_ONLY } from 'diff';
import { PlatformError } from '../../kernel/errors.ts';
import { badField } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Branches, Principal } from '../platform.ts';
import { getBranchRow } from './get-branch.ts';
import { getSchema } from './get-schema.ts';

/** Two schemas with nothing in common take time that grows with the product of their lengths. */
const DIFF_MS = 5000;

/** @throws PlatformError INVALID_REQUEST if no base is named and the branch has no parent; as `getSchema` */
export async function compareSchema(
  context: PlatformContext,
  principal: Principal,
  { projectId, branchId }: { readonly projectId: string; readonly branchId: string },
  { baseBranchId, base = {}, ...query }: Parameters<Branches['compareSchema']>[3],
): Promise<string> {
  const { parentId } = await getBranchRow(context, principal, projectId, branchId);
  const baseId = baseBranchId ?? parentId;
  if (baseId === null) throw badField('base_branch_id', 'the branch to compare with: this one has no parent');
  const { databaseName } = query;
  const [before, after] = await Promise.all([
    getSchema(context, principal, { projectId, branchId: baseId, prefix: 'base_' }, { databaseName, ...base }),
    getSchema(context, principal, { projectId, branchId }, query),
  ]);
  return unifiedDiff(databaseName, before, after);
}

function unifiedDiff(name: string, before: string, after: string): string {
  if (before === after) return '';
  const options = { timeout: DIFF_MS, headerOptions: FILE_HEADERS_ONLY };
  const patch = createTwoFilesPatch(`a/${name}`, `b/${name}`, before, after, undefined, undefined, options);
  if (patch === undefined) {
    throw new PlatformError('DEADLINE_EXCEEDED', 'Cannot compare the schemas: they differ in too much');
  }
  return patch;
}
