import { getBranchRow } from '../branches/get-branch.ts';
import type { PlatformContext } from '../context.ts';
import type { Endpoint, Principal } from '../platform.ts';
import { getProjectAccess } from '../projects/project-access.ts';
import { listEndpointRows } from './endpoint-rows.ts';

/** Of a project, or of one of its branches. A project has few. */
export async function listEndpoints(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  branchId?: string,
): Promise<readonly Endpoint[]> {
  if (branchId === undefined) await getProjectAccess(context.metadata, principal, projectId);
  else await getBranchRow(context, principal, projectId, branchId);
  return listEndpointRows(context.metadata, { projectId, branchId }, context.settings.domain);
}
