import type { EndpointId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../../kernel/errors.ts';
import type { EndpointSpec } from '../../host/host.ts';
import { runCommand } from '../command/run-command.ts';
import { unlessNotFound } from '../command/unless-not-found.ts';
import type { PlatformContext, PlatformDeps } from '../context.ts';
import { listEndpointSpecs } from '../endpoints/endpoint-spec.ts';
import { listOutdatedEndpointIds } from '../endpoints/endpoint-rows.ts';
import { enqueueDeletion } from '../projects/delete-project.ts';
import { listAbandonedDeletions } from '../projects/project-rows.ts';

const BATCH = 200;
const PUSHES_AT_ONCE = 8;

/**
 * Brings the host to what the rows say, whatever either has missed: pushes the specs of endpoints of which it has
 * reported another generation, and orders deletions again whose operations have ended early.
 */
export async function reconcile(context: PlatformContext, signal: AbortSignal): Promise<void> {
  for (const projectId of await listAbandonedDeletions(context.metadata)) {
    await runCommand(context, (command) => enqueueDeletion(command, projectId));
  }
  let afterId = '';
  while (!signal.aborted) {
    const ids = await listOutdatedEndpointIds(context.metadata, afterId, BATCH);
    await pushBatch(context, ids, signal);
    const last = ids.at(-1);
    if (last === undefined) return;
    afterId = last;
  }
}

async function pushBatch(context: PlatformContext, ids: readonly string[], signal: AbortSignal): Promise<void> {
  const specs = [...(await listEndpointSpecs(context.metadata, ids))];
  const work = Array.from({ length: PUSHES_AT_ONCE }, async () => {
    for (let spec = specs.pop(); spec && !signal.aborted; spec = specs.pop()) await pushOne(context, spec);
  });
  await Promise.all(work);
  // A deletion may have overtaken the push, which then has brought the endpoint back.
  const present = new Set((await listEndpointSpecs(context.metadata, ids)).map((spec) => spec.endpointId));
  for (const id of ids as readonly EndpointId[]) {
    if (!present.has(id)) await unlessNotFound(context.host.removeEndpoint(id));
  }
}

async function pushOne({ host, log }: PlatformDeps, spec: EndpointSpec): Promise<void> {
  try {
    await host.applySpec(spec);
  } catch (error) {
    if (error instanceof PlatformError && error.code === 'HOST_UNAVAILABLE') throw error;
    log.warn({ err: error, endpointId: spec.endpointId }, 'spec of an endpoint not applied');
  }
}
