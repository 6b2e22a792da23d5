import { createHash } from 'node:crypto';
import type { EndpointReport } from '../../host/host.ts';

const ENDPOINTS_MAX = 10_000;

/**
 * Tells how new the catalog of a report is. A host may report that it has applied a change moments before it has looked
 * at the catalog again; a catalog that is the same as before is then taken to be from before.
 */
export class SeenCatalogs {
  readonly #first = new Map<string, { readonly digest: string; readonly appliedSeq: number }>();

  /** Changes up to this one were applied when the report's catalog was seen. */
  appliedSeqOf({ endpointId, catalog, catalogAppliedSeq: appliedSeq }: EndpointReport): number {
    const digest = createHash('sha256').update(JSON.stringify(catalog)).digest('base64');
    const first = this.#first.get(endpointId);
    if (first?.digest === digest) return first.appliedSeq;
    this.#first.delete(endpointId);
    this.#first.set(endpointId, { digest, appliedSeq });
    for (const oldest of this.#first.keys()) {
      if (this.#first.size <= ENDPOINTS_MAX) break;
      this.#first.delete(oldest);
    }
    return appliedSeq;
  }
}
