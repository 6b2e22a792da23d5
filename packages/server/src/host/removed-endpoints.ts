import type { EndpointId } from '@tenantry/contract/ids.ts';
import type { EndpointStore } from './endpoint-store.ts';
import type { ComputeRun, EndpointReport } from './host.ts';
import type { ReportFeed } from './report-feed.ts';

export interface RemovedEndpointsDeps {
  readonly store: EndpointStore;
  readonly feed: ReportFeed;
  readonly runOwners: Map<string, EndpointId>;
}

/**
 * Endpoints of which nothing is left but usage that control has not acknowledged. Their last report, on the disk too,
 * goes out until it has.
 */
export class RemovedEndpoints {
  readonly #deps: RemovedEndpointsDeps;
  readonly #reports = new Map<EndpointId, EndpointReport>();

  constructor(deps: RemovedEndpointsDeps) {
    this.#deps = deps;
  }

  has(endpointId: EndpointId): boolean {
    return this.#reports.has(endpointId);
  }

  find(endpointId: EndpointId): EndpointReport | undefined {
    return this.#reports.get(endpointId);
  }

  /** Removes an endpoint that is at rest. May be repeated after a failure. */
  async add(report: EndpointReport): Promise<void> {
    const { store, feed } = this.#deps;
    const { endpointId } = report;
    if (report.runs.length === 0) {
      await store.remove(endpointId);
      feed.remove(endpointId);
      return;
    }
    await store.retire(report);
    this.announce(report);
  }

  /** Has the report sent, to all who read reports: they may have seen it and have failed to acknowledge. */
  announce(report: EndpointReport): void {
    const { endpointId } = report;
    // At rest: a run that a crash left open would never be acknowledged.
    const runs = report.runs.map((run) => ({ ...run, ended: true }));
    this.#reports.set(endpointId, { ...report, runs, version: this.#deps.feed.nextVersion(endpointId) });
  }

  async acknowledge(endpointId: EndpointId, computeIds: ReadonlySet<string>): Promise<void> {
    const { store, feed, runOwners } = this.#deps;
    const report = this.#reports.get(endpointId);
    if (!report) return;
    const runs = report.runs.filter(({ computeId }) => !computeIds.has(computeId));
    if (runs.length > 0) {
      this.#reports.set(endpointId, { ...report, runs });
      return;
    }
    this.#reports.delete(endpointId);
    feed.remove(endpointId);
    for (const { computeId } of report.runs) runOwners.delete(computeId);
    await store.remove(endpointId);
  }

  /** The endpoint is to be again: its usage goes on with it. */
  take(endpointId: EndpointId): readonly ComputeRun[] {
    const runs = this.#reports.get(endpointId)?.runs ?? [];
    this.#reports.delete(endpointId);
    return runs;
  }
}
