import { checkName } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { NewEndpointInput } from '../platform.ts';
import type { ProjectRow } from '../projects/project-rows.ts';
import { checkComputeSize, DEFAULT_CU } from './compute-size.ts';
import { checkSuspendTimeout } from './suspend-timeout.ts';

/** What a new endpoint is to be like: checked, with nothing left open. */
export type CheckedEndpoint = Required<Omit<NewEndpointInput, 'name'>> & { readonly name: string | null };

/**
 * What is not given is as the project's defaults say.
 * @param prefix of the fields in messages, such as `endpoint.`
 * @throws PlatformError INVALID_REQUEST
 */
export function checkNewEndpoint(
  { settings, checkPgSettings }: PlatformContext,
  { defaultEndpointSettings: defaults, pgVersion }: ProjectRow,
  input: NewEndpointInput,
  prefix: string,
): CheckedEndpoint {
  const defaultMin = defaults.autoscalingLimitMinCu ?? DEFAULT_CU;
  const defaultMax = defaults.autoscalingLimitMaxCu ?? DEFAULT_CU;
  // One bound given alone draws the other along.
  const minCu = input.minCu ?? Math.min(defaultMin, input.maxCu ?? defaultMin);
  const maxCu = input.maxCu ?? Math.max(defaultMax, input.minCu ?? defaultMax);
  return {
    ...checkComputeSize({ minCu, maxCu }, prefix),
    type: input.type,
    name: input.name === undefined ? null : checkName(`${prefix}name`, input.name),
    suspendTimeoutSeconds: checkSuspendTimeout(
      input.suspendTimeoutSeconds ?? defaults.suspendTimeoutSeconds ?? 0,
      settings.minSuspendSeconds,
      `${prefix}suspend_timeout_seconds`,
    ),
    disabled: input.disabled ?? false,
    pgSettings: checkPgSettings(input.pgSettings ?? defaults.pgSettings ?? {}, pgVersion),
  };
}
