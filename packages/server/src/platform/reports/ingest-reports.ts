import { PlatformError } from '../../kernel/errors.ts';
import { backoffMs, sleep } from '../../kernel/wait.ts';
import type { EndpointReport } from '../../host/host.ts';
import type { PlatformContext } from '../context.ts';
import { getLastReportVersion } from '../endpoints/reported-state.ts';
import { ingestReport } from './ingest-report.ts';
import { reconcile } from './reconcile.ts';

const BACKOFF = { firstMs: 100, maxMs: 5_000 };

/**
 * Follows the host's reports until the signal aborts, and begins again whenever host or metadata were away. Each
 * beginning also reconciles, since the host may have missed something meanwhile.
 */
export async function ingestReports(context: PlatformContext, signal: AbortSignal): Promise<void> {
  const { log } = context;
  let failures = 0;
  while (!signal.aborted) {
    const connection = new AbortController();
    const reconciling = reconcile(context, AbortSignal.any([signal, connection.signal])).catch((error: unknown) => {
      if (!connection.signal.aborted && !signal.aborted) log.warn({ err: error }, 'reconcile failed');
    });
    try {
      await follow(context, signal, () => (failures = 0));
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, 'reports of the host interrupted');
    } finally {
      connection.abort();
      await reconciling;
    }
    failures += 1;
    await sleep(backoffMs(failures, BACKOFF), signal).catch(() => undefined);
  }
}

async function follow(context: PlatformContext, signal: AbortSignal, onReport: () => void): Promise<void> {
  const unknown = new Set<string>();
  for await (const report of context.host.reports(await getLastReportVersion(context.metadata), signal)) {
    onReport();
    if ((await ingestOrSkip(context, report)) || unknown.has(report.endpointId)) continue;
    // Left alone: better an endpoint too many than one deleted because of a metadata database restored from long ago.
    unknown.add(report.endpointId);
    context.log.warn({ endpointId: report.endpointId }, 'host has an endpoint that no row knows');
  }
}

/** One report that cannot be stored must not hold up all others. */
async function ingestOrSkip(context: PlatformContext, report: EndpointReport): Promise<boolean> {
  try {
    return await ingestReport(context, report);
  } catch (error) {
    if (error instanceof PlatformError) throw error;
    context.log.error({ err: error, endpointId: report.endpointId }, 'report of the host not stored');
    return true;
  }
}
