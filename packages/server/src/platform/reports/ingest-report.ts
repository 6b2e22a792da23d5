import type { EndpointReport } from '../../host/host.ts';
import { lockBranch } from '../catalog/catalog-change-rows.ts';
import { settleApplied } from '../catalog/settle-changes.ts';
import { transact, type Work } from '../command/transact.ts';
import { unlessNotFound } from '../command/unless-not-found.ts';
import type { PlatformDeps } from '../context.ts';
import { setArchived } from '../branches/archive-rows.ts';
import { setLogicalBytes } from '../branches/branch-changes.ts';
import { findEndpointOwner, isRemoved } from '../directory/directory-rows.ts';
import { isReadWrite, storeReportedState } from '../endpoints/reported-state.ts';
import { storeComputeRuns, type RunOwner } from '../usage/usage-rows.ts';
import { syncCatalog } from './sync-catalog.ts';

/**
 * Stores what a host sees of an endpoint, and acknowledges the usage in it. Level and not edge: a report may come
 * again, late or never; the newest one says all. Usage of an endpoint that is deleted by now still counts.
 * @returns false if no such endpoint ever was
 */
export async function ingestReport(deps: PlatformDeps, report: EndpointReport): Promise<boolean> {
  const found = await transact(deps, async (work) => {
    const owner = await findEndpointOwner(work.tx, report.endpointId);
    if (!owner) return 'unknown';
    await storeComputeRuns(work.tx, owner, report.runs);
    // The branch's row is locked before the endpoint's, as commands do.
    if ((await lockBranch(work.tx, owner.branchId)) && (await storeReportedState(work.tx, report))) {
      await storeSeen(deps, work, owner, report);
      return 'known';
    }
    return (await isRemoved(work.tx, report.endpointId)) ? 'removed' : 'known';
  });
  if (found === 'unknown') return false;
  deps.reported.notify();
  if (found === 'removed') void removeAgain(deps, report.endpointId);
  const endedIds = report.runs.filter((run) => run.ended).map((run) => run.computeId);
  if (endedIds.length > 0) await deps.host.acknowledgeRuns(endedIds);
  return true;
}

/** A push of its spec that overtook its deletion has brought it back to the host; mostly it is gone there. */
async function removeAgain({ host, log }: PlatformDeps, endpointId: EndpointReport['endpointId']): Promise<void> {
  try {
    await unlessNotFound(host.removeEndpoint(endpointId));
  } catch (error) {
    log.warn({ err: error, endpointId }, 'removed endpoint is still on the host');
  }
}

async function storeSeen(
  { seenCatalogs }: PlatformDeps,
  work: Work,
  { branchId }: RunOwner,
  report: EndpointReport,
): Promise<void> {
  // A standby may lag behind its branch, and is never asked to change anything.
  if (!(await isReadWrite(work.tx, report.endpointId))) return;
  const { state, catalogAppliedSeq, catalog, logicalBytes } = report;
  // The host has brought it back for the compute.
  if (state === 'active') await setArchived(work.tx, branchId, false);
  await settleApplied(work, branchId, catalogAppliedSeq);
  if (catalog) await syncCatalog(work, { branchId, catalog, appliedSeq: seenCatalogs.appliedSeqOf(report) });
  if (logicalBytes !== null) await setLogicalBytes(work.tx, branchId, logicalBytes);
}
