import type { ComputeState } from '../../host/host.ts';
import type { OperationDefinition } from '../../operations/operation.ts';
import { runCommand } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import type { Endpoint, EndpointChange } from '../platform.ts';
import { findReportedState, listEndpointRows, type ReportedState } from './endpoint-rows.ts';

/** The host's report of what an operation has done comes moments after it; an answer is worth that wait. */
const REPORT_WAIT_MS = 500;
/** If the compute seems to be in that state already, perhaps no report will come. */
const NO_REPORT_WAIT_MS = 100;

interface StateChange<Input> {
  readonly definition: OperationDefinition<Input, never>;
  readonly input: Input;
  readonly expected: ComputeState;
}

/** Starts or stops a compute. The answer shows its new state if the operation has ended within the wait. */
export async function changeComputeState<Input>(
  context: PlatformContext,
  endpoint: Endpoint,
  { definition, input, expected }: StateChange<Input>,
): Promise<EndpointChange> {
  const { id: endpointId, projectId, branchId } = endpoint;
  const before = await findReportedState(context.metadata, endpointId);
  const { operations } = await runCommand(context, (command) =>
    command.enqueue(definition, input, { projectId, branchId, endpointId }),
  );
  if (before && operations.every(({ status }) => status === 'finished')) {
    await awaitReport(context, endpointId, before, expected);
  }
  const [present] = await listEndpointRows(context.metadata, { projectId, endpointId }, context.settings.domain);
  return { endpoint: present ?? endpoint, operations };
}

async function awaitReport(
  { metadata, reported }: PlatformContext,
  endpointId: string,
  before: ReportedState,
  expected: ComputeState,
): Promise<void> {
  const deadline = performance.now() + (before.state === expected ? NO_REPORT_WAIT_MS : REPORT_WAIT_MS);
  for (;;) {
    const news = reported.listen(Math.max(0, deadline - performance.now()));
    try {
      const now = await findReportedState(metadata, endpointId);
      if (!now || (now.state === expected && now.version > before.version) || performance.now() >= deadline) return;
      await news.heard;
    } finally {
      news.cancel();
    }
  }
}
