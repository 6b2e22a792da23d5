import type {
  ConnectionDetails,
  Project as ProjectSchema,
  ProjectListItem as ProjectListItemSchema,
} from '@tenantry/contract/project.ts';
import type { Static } from 'typebox';
import type { ConnectionInfo, Project } from '../../platform/platform.ts';
import { defined } from '../defined.ts';
import { PROVISIONER } from './present-endpoint.ts';
import { presentDefaultEndpointSettings, presentProjectSettings } from './present-project-settings.ts';
import { toOptionalTimestamp, toTimestamp } from './timestamp.ts';

const MIB = 1024 * 1024;

export function presentProject(project: Project, domain: string): Static<typeof ProjectSchema> {
  const { usage } = project;
  return {
    ...presentCommon(project, domain),
    data_storage_bytes_hour: Math.round(usage.dataStorageBytesHour),
    data_transfer_bytes: usage.dataTransferBytes,
    written_data_bytes: usage.writtenDataBytes,
    compute_time_seconds: Math.round(usage.computeTimeSeconds),
    active_time_seconds: Math.round(usage.activeTimeSeconds),
    consumption_period_start: toTimestamp(usage.periodStart),
    consumption_period_end: toTimestamp(usage.periodEnd),
  };
}

export function presentProjectListItem(project: Project, domain: string): Static<typeof ProjectListItemSchema> {
  return { ...presentCommon(project, domain), active_time: Math.round(project.usage.activeTimeSeconds) };
}

function presentCommon(project: Project, domain: string) {
  const branchBytesMax = project.settings.quota?.logicalSizeBytes ?? 0;
  return {
    id: project.id,
    platform_id: 'tenantry',
    region_id: project.regionId,
    name: project.name,
    provisioner: PROVISIONER,
    default_endpoint_settings: presentDefaultEndpointSettings(project.defaultEndpointSettings),
    settings: presentProjectSettings(project.settings),
    pg_version: project.pgVersion,
    proxy_host: domain,
    branch_logical_size_limit: Math.ceil(branchBytesMax / MIB),
    branch_logical_size_limit_bytes: branchBytesMax,
    store_passwords: project.storePasswords,
    creation_source: 'console',
    created_at: toTimestamp(project.createdAt),
    updated_at: toTimestamp(project.updatedAt),
    synthetic_storage_size: project.usage.logicalBytes,
    owner_id: project.organizationId,
    org_id: project.organizationId,
    history_retention_seconds: project.historyRetentionSeconds,
    cpu_used_sec: Math.round(project.usage.cpuUsedSeconds),
    ...defined({ compute_last_active_at: toOptionalTimestamp(project.computeLastActiveAt) }),
  };
}

export const presentConnection = (connection: ConnectionInfo): Static<typeof ConnectionDetails> => ({
  connection_uri: connection.connectionUri,
  connection_parameters: {
    database: connection.database,
    password: connection.password.reveal(),
    role: connection.role,
    host: connection.host,
    pooler_host: connection.poolerHost,
  },
});
