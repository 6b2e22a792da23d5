import { findOperation } from '../../operations/operation-rows.ts';
import { notFound } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Operation, Principal } from '../platform.ts';
import { getProjectAccess } from '../projects/project-access.ts';
import { toOperation } from './to-operation.ts';

export async function getOperation(
  { metadata }: PlatformContext,
  principal: Principal,
  projectId: string,
  operationId: string,
): Promise<Operation> {
  await getProjectAccess(metadata, principal, projectId);
  const operation = await findOperation(metadata, projectId, operationId);
  if (!operation) throw notFound('operation', operationId);
  return toOperation(operation);
}
