import { isIP } from 'node:net';
import { badField, printable } from '../checks.ts';
import type { DefaultEndpointSettings, ProjectSettings } from '../platform.ts';
import type { PlatformContext } from '../context.ts';
import { checkComputeSize, DEFAULT_CU, type ComputeSize } from '../endpoints/compute-size.ts';
import { checkSuspendTimeout } from '../endpoints/suspend-timeout.ts';

/** Beyond this, an entry of a list is more likely a mistake than a wish. */
const ALLOWED_IPS_MAX = 1000;

/**
 * Settings as they are stored. What protects, but is not there yet, is refused and not just echoed.
 * @throws PlatformError INVALID_REQUEST
 */
export function checkProjectSettings(settings: ProjectSettings): ProjectSettings {
  const unsupported = {
    enable_logical_replication: settings.enableLogicalReplication,
    block_public_connections: settings.blockPublicConnections,
    hipaa: settings.hipaa,
  };
  for (const [name, value] of Object.entries(unsupported)) {
    if (value) throw badField(`project.settings.${name}`, 'only false: this is not supported yet');
  }
  for (const [name, value] of Object.entries(settings.quota ?? {})) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw badField(`project.settings.quota.${toSnakeCase(name)}`, 'a whole number from 0 (no limit)');
    }
  }
  const ips = settings.allowedIps?.ips ?? [];
  if (ips.length > ALLOWED_IPS_MAX) {
    throw badField('project.settings.allowed_ips.ips', `at most ${ALLOWED_IPS_MAX} entries`);
  }
  const bad = ips.find((entry) => !isAddressEntry(entry));
  if (bad !== undefined) {
    throw badField(`project.settings.allowed_ips.ips entry ${printable(bad)}`, 'an IP address, a CIDR, or a range a-b');
  }
  return settings;
}

function isAddressEntry(entry: string): boolean {
  const range = entry.split('-').map((part) => part.trim());
  if (range.length === 2) {
    const [from = '', to = ''] = range;
    return isIP(from) !== 0 && isIP(from) === isIP(to);
  }
  const [address = '', bits, ...rest] = entry.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

const toSnakeCase = (name: string): string => name.replaceAll(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);

/**
 * Defaults for new endpoints, as they are stored.
 * @throws PlatformError INVALID_REQUEST
 */
export function checkDefaultEndpointSettings(
  { checkPgSettings, settings: { minSuspendSeconds } }: PlatformContext,
  settings: DefaultEndpointSettings,
  pgVersion: number,
): Required<Omit<DefaultEndpointSettings, 'pgSettings'>> & Pick<DefaultEndpointSettings, 'pgSettings'> {
  const prefix = 'project.default_endpoint_settings.';
  const { minCu, maxCu } = checkComputeSize(toComputeSize(settings), prefix);
  const { suspendTimeoutSeconds = 0, pgSettings } = settings;
  return {
    autoscalingLimitMinCu: minCu,
    autoscalingLimitMaxCu: maxCu,
    suspendTimeoutSeconds: checkSuspendTimeout(
      suspendTimeoutSeconds,
      minSuspendSeconds,
      `${prefix}suspend_timeout_seconds`,
    ),
    ...(pgSettings === undefined ? {} : { pgSettings: checkPgSettings(pgSettings, pgVersion) }),
  };
}

/** One bound given alone draws the other along. */
function toComputeSize(settings: DefaultEndpointSettings): ComputeSize {
  const { autoscalingLimitMinCu: min, autoscalingLimitMaxCu: max } = settings;
  return {
    minCu: min ?? Math.min(DEFAULT_CU, max ?? DEFAULT_CU),
    maxCu: max ?? Math.max(DEFAULT_CU, min ?? DEFAULT_CU),
  };
}
