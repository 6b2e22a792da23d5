import type { EndpointId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { findDefaultBranchId } from '../branches/branch-rows.ts';
import { getBranchRow } from '../branches/get-branch.ts';
import { badField } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import { getDatabaseRow } from '../databases/get-database.ts';
import { findReadWriteEndpointId } from '../endpoints/endpoint-rows.ts';
import { getEndpoint } from '../endpoints/get-endpoint.ts';
import type { ConnectionInfo, Principal, Projects } from '../platform.ts';
import { revealRolePassword } from '../roles/reveal-role-password.ts';
import { toConnectionInfo } from './connection-uri.ts';
import { getProjectAccess } from './project-access.ts';

type ConnectionQuery = Parameters<Projects['connection']>[2];

/**
 * How to connect as a role, to the default branch and its read-write endpoint unless told.
 * @throws PlatformError NOT_FOUND, CONFLICT where the password is not stored
 */
export async function getConnection(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  query: ConnectionQuery,
): Promise<ConnectionInfo> {
  const { branchId, endpointId } = await findTarget(context, principal, projectId, query);
  const database = await getDatabaseRow(context.metadata, branchId, query.databaseName);
  const password = await revealRolePassword(context, principal, projectId, branchId, query.roleName);
  return toConnectionInfo(context.settings, {
    endpointId,
    role: query.roleName,
    database: database.name,
    password,
    isPooled: query.pooled ?? false,
  });
}

async function findTarget(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  query: ConnectionQuery,
): Promise<{ readonly branchId: string; readonly endpointId: EndpointId }> {
  if (query.endpointId !== undefined) {
    const endpoint = await getEndpoint(context, principal, projectId, query.endpointId);
    if (query.branchId !== undefined && query.branchId !== endpoint.branchId) {
      throw badField('endpoint_id', 'the id of an endpoint of the branch that is named');
    }
    return { branchId: endpoint.branchId, endpointId: endpoint.id };
  }
  await getProjectAccess(context.metadata, principal, projectId);
  const named = query.branchId ?? (await findDefaultBranchId(context.metadata, projectId)) ?? '';
  const branch = await getBranchRow(context, principal, projectId, named);
  const endpointId = await findReadWriteEndpointId(context.metadata, branch.id);
  if (endpointId === undefined) throw new PlatformError('NOT_FOUND', 'no read-write endpoint for branch');
  return { branchId: branch.id, endpointId: endpointId as EndpointId };
}
