import { isDeepStrictEqual } from 'node:util';
import { checkName } from '../checks.ts';
import { runCommand, type Command } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import type { Endpoint, EndpointChange, Principal, UpdateEndpointInput } from '../platform.ts';
import { getPgVersion } from '../projects/project-rows.ts';
import { applyEndpointSpec } from './apply-endpoint-spec.ts';
import { checkComputeSize } from './compute-size.ts';
import { listEndpointRows, raiseGeneration } from './endpoint-rows.ts';
import { getEndpoint } from './get-endpoint.ts';
import { checkSuspendTimeout } from './suspend-timeout.ts';

/** Gives no operations if nothing changes for the compute. */
export async function updateEndpoint(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  endpointId: string,
  input: UpdateEndpointInput,
): Promise<EndpointChange> {
  const { id } = await getEndpoint(context, principal, projectId, endpointId);
  const { operations } = await runCommand(context, async (command) => {
    // Two updates at once: the second sees what the first has set.
    await command.tx.selectFrom('endpoints').select('id').where('id', '=', id).forNoKeyUpdate().execute();
    const [before] = await listEndpointRows(command.tx, { projectId, endpointId: id }, context.settings.domain);
    if (before) await change(command, before, await toWanted(context, before, input), context);
  });
  return { endpoint: await getEndpoint(context, principal, projectId, endpointId), operations };
}

type Wanted = Required<Omit<UpdateEndpointInput, 'name'>> & { readonly name: string | null };

async function toWanted(context: PlatformContext, before: Endpoint, input: UpdateEndpointInput): Promise<Wanted> {
  const { metadata, settings, checkPgSettings } = context;
  const { minCu, maxCu, suspendTimeoutSeconds, pgSettings } = input;
  // Of a size, one bound may be given alone; the other stays.
  const size = { minCu: minCu ?? before.minCu, maxCu: maxCu ?? before.maxCu };
  const isResized = minCu !== undefined || maxCu !== undefined;
  return {
    ...(isResized ? checkComputeSize(size, 'endpoint.') : size),
    name: input.name === undefined ? before.name : checkName('endpoint.name', input.name),
    disabled: input.disabled ?? before.disabled,
    suspendTimeoutSeconds:
      suspendTimeoutSeconds === undefined
        ? before.suspendTimeoutSeconds
        : checkSuspendTimeout(suspendTimeoutSeconds, settings.minSuspendSeconds, 'endpoint.suspend_timeout_seconds'),
    pgSettings:
      pgSettings === undefined
        ? before.pgSettings
        : checkPgSettings(pgSettings, await getPgVersion(metadata, before.projectId)),
  };
}

async function change(command: Command, before: Endpoint, wanted: Wanted, { now }: PlatformContext): Promise<void> {
  const { id: endpointId, branchId, projectId } = before;
  const { name, ...spec } = wanted;
  const { minCu, maxCu, suspendTimeoutSeconds, disabled, pgSettings } = before;
  const isSpecChanged = !isDeepStrictEqual(spec, { minCu, maxCu, suspendTimeoutSeconds, disabled, pgSettings });
  if (!isSpecChanged && name === before.name) return;
  await command.tx
    .updateTable('endpoints')
    .set({
      name,
      min_cu: spec.minCu,
      max_cu: spec.maxCu,
      suspend_timeout_seconds: spec.suspendTimeoutSeconds,
      disabled: spec.disabled,
      pg_settings: JSON.stringify(spec.pgSettings),
      updated_at: now(),
    })
    .where('id', '=', endpointId)
    .execute();
  if (!isSpecChanged) return;
  await raiseGeneration(command.tx, [endpointId]);
  if (spec.disabled !== disabled) command.changeDirectory([endpointId]);
  await command.enqueue(
    applyEndpointSpec,
    { endpointId, pgSettingsBefore: pgSettings },
    { projectId, branchId, endpointId },
  );
}
