import type { DefaultEndpointSettingsInput, ProjectSettingsInput } from '@tenantry/contract/project-settings.ts';
import type { DefaultEndpointSettings, ProjectSettings } from '../../platform/platform.ts';
import { defined } from '../defined.ts';

/** From the wire to the platform. */
export function toProjectSettings(input: ProjectSettingsInput): ProjectSettings {
  const { quota, allowed_ips: allowedIps, maintenance_window: window } = input;
  return defined({
    quota:
      quota &&
      defined({
        activeTimeSeconds: quota.active_time_seconds,
        computeTimeSeconds: quota.compute_time_seconds,
        writtenDataBytes: quota.written_data_bytes,
        dataTransferBytes: quota.data_transfer_bytes,
        logicalSizeBytes: quota.logical_size_bytes,
      }),
    allowedIps:
      allowedIps && defined({ ips: allowedIps.ips, protectedBranchesOnly: allowedIps.protected_branches_only }),
    enableLogicalReplication: input.enable_logical_replication,
    blockPublicConnections: input.block_public_connections,
    blockVpcConnections: input.block_vpc_connections,
    hipaa: input.hipaa,
    maintenanceWindow: window && {
      weekdays: window.weekdays,
      startTime: window.start_time,
      endTime: window.end_time,
    },
  });
}

export const toDefaultEndpointSettings = (input: DefaultEndpointSettingsInput): DefaultEndpointSettings =>
  defined({
    autoscalingLimitMinCu: input.autoscaling_limit_min_cu,
    autoscalingLimitMaxCu: input.autoscaling_limit_max_cu,
    suspendTimeoutSeconds: input.suspend_timeout_seconds,
    pgSettings: input.pg_settings,
  });
