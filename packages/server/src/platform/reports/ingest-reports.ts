import { codeOf, PlatformError } from '../../kernel/errors.ts';
import { backoffMs, sleep } from '../../kernel/wait.ts';
import type { EndpointReport } from '../../host/host.ts';
import type { PlatformContext } from '../context.ts';
import { getLastReportVersion } from '../endpoints/reported-state.ts';
import { ingestReport } from './ingest-report.ts';
import { reconcile } from './reconcile.ts';

const BACKOFF = { firstMs: 100, maxMs: 5_000 };
const RECONCILE_INTERVAL_MS = 60_000;
const RECONCILE_RETRY_MS = 5_000;

/**
 * Follows the host's reports until the signal aborts, and begins again whenever host or metadata were away. Reconciles
 * at each beginning, since the host may have missed something meanwhile, and every now and then.
 */
export async function ingestReports(context: PlatformContext, signal: AbortSignal): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    const broken = new AbortController();
    const reconciling = keepReconciled(context, AbortSignal.any([signal, broken.signal]));
    try {
      await follow(context, signal, () => (failures = 0));
    } catch (error) {
      if (!signal.aborted) context.log.warn({ err: error }, 'reports of the host interrupted');
    } finally {
      broken.abort();
      await reconciling;
    }
    failures += 1;
    await pause(backoffMs(failures, BACKOFF), signal);
  }
}

async function keepReconciled(context: PlatformContext, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await reconcile(context, signal);
      await pause(RECONCILE_INTERVAL_MS, signal);
    } catch (error) {
      if (!signal.aborted) context.log.warn({ err: error }, 'reconcile failed, will retry');
      await pause(RECONCILE_RETRY_MS, signal);
    }
  }
}

/** Ends early, without an error, if the signal aborts. */
const pause = (ms: number, signal: AbortSignal): Promise<void> => sleep(ms, signal).catch(() => undefined);

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
    if (error instanceof PlatformError || isTransient(error)) throw error;
    context.log.error({ err: error, endpointId: report.endpointId }, 'report of the host not stored');
    return true;
  }
}

/** Deadlock, serialization failure, lock timeout, cancelled statement: the same report may be stored next time. */
const isTransient = (error: unknown): boolean => /^(40|55P03|57014)/.test(codeOf(error) ?? '');
