import { listOperations as listRecords } from '../../operations/operation-rows.ts';
import type { PlatformContext } from '../context.ts';
import type { Operation, Page, PageRequest, Principal } from '../platform.ts';
import { getProjectAccess } from '../projects/project-access.ts';
import { toOperation } from './to-operation.ts';

/** Newest first. */
export async function listOperations(
  { metadata }: PlatformContext,
  principal: Principal,
  projectId: string,
  page: PageRequest,
): Promise<Page<Operation>> {
  await getProjectAccess(metadata, principal, projectId);
  const { items, ...cursor } = await listRecords(metadata, projectId, page);
  return { items: items.map(toOperation), ...cursor };
}
