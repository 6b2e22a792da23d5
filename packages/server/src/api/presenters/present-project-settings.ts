import type {
  DefaultEndpointSettings as DefaultEndpointSettingsSchema,
  ProjectSettings as ProjectSettingsSchema,
} from '@tenantry/contract/project-settings.ts';
import type { Static } from 'typebox';
import type { DefaultEndpointSettings, ProjectSettings } from '../../platform/platform.ts';
import { defined } from '../defined.ts';

/** With the defaults filled in, as Neon echoes them. */
export function presentProjectSettings(settings: ProjectSettings): Static<typeof ProjectSettingsSchema> {
  return {
    allowed_ips: {
      ips: [...(settings.allowedIps?.ips ?? [])],
      protected_branches_only: settings.allowedIps?.protectedBranchesOnly ?? false,
    },
    enable_logical_replication: settings.enableLogicalReplication ?? false,
    block_public_connections: settings.blockPublicConnections ?? false,
    block_vpc_connections: settings.blockVpcConnections ?? false,
    hipaa: settings.hipaa ?? false,
    ...(settings.quota && { quota: presentQuota(settings.quota) }),
    ...(settings.maintenanceWindow && { maintenance_window: presentWindow(settings.maintenanceWindow) }),
  };
}

const presentQuota = (quota: NonNullable<ProjectSettings['quota']>) =>
  defined({
    active_time_seconds: quota.activeTimeSeconds,
    compute_time_seconds: quota.computeTimeSeconds,
    written_data_bytes: quota.writtenDataBytes,
    data_transfer_bytes: quota.dataTransferBytes,
    logical_size_bytes: quota.logicalSizeBytes,
  });

const presentWindow = (window: NonNullable<ProjectSettings['maintenanceWindow']>) => ({
  weekdays: [...window.weekdays],
  start_time: window.startTime,
  end_time: window.endTime,
});

export const presentDefaultEndpointSettings = (
  settings: DefaultEndpointSettings,
): Static<typeof DefaultEndpointSettingsSchema> => ({
  suspend_timeout_seconds: settings.suspendTimeoutSeconds ?? 0,
  ...defined({
    autoscaling_limit_min_cu: settings.autoscalingLimitMinCu,
    autoscaling_limit_max_cu: settings.autoscalingLimitMaxCu,
    pg_settings: settings.pgSettings && { ...settings.pgSettings },
  }),
});
