import type { ComputeState } from '../../host/host.ts';
import type { PlatformContext } from '../context.ts';
import type { Endpoint, EndpointChange, Operation } from '../platform.ts';
import { findComputeState, listEndpointRows } from './endpoint-rows.ts';

interface StateChange {
  readonly endpoint: Endpoint;
  readonly operations: readonly Operation[];
  readonly expected: ComputeState;
}

/** The host's report of what an operation has done comes moments after it; an answer is worth that wait. */
const REPORT_WAIT_MS = 500;

/** The answer to a command that starts or stops a compute: shows the new state if its operations have ended. */
export async function afterStateChange(
  context: PlatformContext,
  { endpoint, operations, expected }: StateChange,
): Promise<EndpointChange> {
  const hasEnded = operations.every(({ status }) => status === 'finished');
  if (hasEnded) await awaitReport(context, endpoint.id, expected);
  const filter = { projectId: endpoint.projectId, endpointId: endpoint.id };
  const [present] = await listEndpointRows(context.metadata, filter, context.settings.domain);
  return { endpoint: present ?? endpoint, operations };
}

async function awaitReport(
  { metadata, reported }: PlatformContext,
  endpointId: string,
  expected: ComputeState,
): Promise<void> {
  const deadline = performance.now() + REPORT_WAIT_MS;
  for (;;) {
    const news = reported.listen(Math.max(0, deadline - performance.now()));
    try {
      const known = await findComputeState(metadata, endpointId);
      if (!known || known.state === expected || performance.now() >= deadline) return;
      await news.heard;
    } finally {
      news.cancel();
    }
  }
}
