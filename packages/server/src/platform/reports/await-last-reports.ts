import type { PlatformDeps } from '../context.ts';
import { listComputeStates } from '../endpoints/endpoint-rows.ts';

/** A report comes within milliseconds of what it tells; one that is this late has lost its way. */
const REPORT_MIN_MS = 300;
const REPORT_MAX_MS = 3_000;

/**
 * Waits, bounded, until the host has reported that the project's computes are at rest: the usage of their last lives
 * comes with that, and the host forgets it with the endpoint.
 */
export async function awaitLastReports(
  { metadata, reported }: PlatformDeps,
  projectId: string,
  signal: AbortSignal,
): Promise<void> {
  const from = performance.now();
  while (!signal.aborted) {
    const states = await listComputeStates(metadata, projectId);
    const isAtRest = states.every((state) => state === 'idle' || state === 'failed');
    const passedMs = performance.now() - from;
    if (passedMs > REPORT_MAX_MS || (isAtRest && passedMs > REPORT_MIN_MS)) return;
    await reported.listen(REPORT_MIN_MS, signal).heard;
  }
}
