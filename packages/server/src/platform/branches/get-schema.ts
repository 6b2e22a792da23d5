import { notFound } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Principal, SchemaQuery } from '../platform.ts';
import { bringBack } from './bring-back.ts';
import { checkMoment, checkReady } from './branch-checks.ts';
import { findBranchVolumeId } from './branch-rows.ts';
import { getBranchRow } from './get-branch.ts';

/** Read from a clone: the branch may sleep, and is not waked. @throws PlatformError NOT_FOUND, MOMENT_OUT_OF_HISTORY */
export async function getSchema(
  context: PlatformContext,
  principal: Principal,
  { projectId, branchId, prefix = '' }: { projectId: string; branchId: string; prefix?: string },
  { databaseName, ...moment }: SchemaQuery,
): Promise<string> {
  const { host, metadata, now } = context;
  const branch = await bringBack(context, await getBranchRow(context, principal, projectId, branchId));
  checkReady(branch, 'read the schema');
  const at = checkMoment(moment, now(), prefix);
  const volumeId = await findBranchVolumeId(metadata, branch.id);
  if (volumeId === undefined) throw notFound('branch', branchId);
  return await host.dumpSchema({ volumeId, projectId: branch.projectId, at, database: databaseName });
}
