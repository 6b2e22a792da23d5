import { annotationValue } from './branch.ts';
import { computeUnits, provisioner } from './endpoint.ts';
import {
  DefaultEndpointSettings,
  DefaultEndpointSettingsInput,
  ProjectSettings,
  ProjectSettingsInput,
} from './project-settings.ts';
import {
  count,
  flag,
  id,
  postgresName,
  requestObject,
  responseObject,
  text,
  timestamp,
  Type,
  type Static,
} from './schema.ts';

const HISTORY_RETENTION_SECONDS_MAX = 30 * 24 * 3600;

const historyRetentionSeconds = Type.Integer({
  minimum: 0,
  maximum: HISTORY_RETENTION_SECONDS_MAX,
  description: 'How far back the history of a branch reaches.',
});

const common = {
  id: id('Project id.'),
  platform_id: Type.String({ description: 'Always tenantry.' }),
  region_id: Type.String(),
  name: Type.String(),
  provisioner: Type.String(),
  default_endpoint_settings: DefaultEndpointSettings,
  settings: ProjectSettings,
  pg_version: Type.Integer({ description: 'Major version of Postgres.' }),
  proxy_host: Type.String({ description: 'Host name of the gateway.' }),
  branch_logical_size_limit: count('MiB that a branch may hold. 0: no limit.'),
  branch_logical_size_limit_bytes: count('Bytes that a branch may hold. 0: no limit.'),
  store_passwords: flag('Whether passwords of roles can be revealed.'),
  creation_source: Type.String(),
  created_at: timestamp('When it was created.'),
  updated_at: timestamp('Its last change.'),
  synthetic_storage_size: count('Bytes of all databases of the project.'),
  owner_id: Type.String({ description: 'The organization that owns it.' }),
  org_id: id('Organization id.'),
  history_retention_seconds: historyRetentionSeconds,
  compute_last_active_at: Type.Optional(timestamp('When a client was last active.')),
  cpu_used_sec: count('CPU seconds of this billing period.'),
};

export const Project = responseObject('Project', {
  ...common,
  data_storage_bytes_hour: count('Byte-hours stored in this billing period.'),
  data_transfer_bytes: count('Bytes sent to clients in this billing period.'),
  written_data_bytes: count('Bytes written in this billing period.'),
  compute_time_seconds: count('Compute-unit seconds of this billing period.'),
  active_time_seconds: count('Seconds awake in this billing period.'),
  consumption_period_start: timestamp('Begin of the billing period.'),
  consumption_period_end: timestamp('End of the billing period.'),
});

export const ProjectListItem = responseObject('ProjectListItem', {
  ...common,
  active_time: count('Seconds awake in this billing period.'),
});

export const ProjectCreateBody = requestObject({
  project: requestObject({
    name: Type.Optional(text(1, 256, 'By default the project id.')),
    region_id: Type.Optional(
      Type.String({ pattern: '^[a-z0-9]+(-[a-z0-9]+)*$', maxLength: 60, description: 'See GET /regions.' }),
    ),
    org_id: Type.Optional(id('Organization that is to own it.')),
    pg_version: Type.Optional(Type.Integer({ minimum: 1, description: 'Major version of Postgres. By default 17.' })),
    settings: Type.Optional(ProjectSettingsInput),
    default_endpoint_settings: Type.Optional(DefaultEndpointSettingsInput),
    autoscaling_limit_min_cu: Type.Optional(computeUnits('Old place of default_endpoint_settings.')),
    autoscaling_limit_max_cu: Type.Optional(computeUnits('Old place of default_endpoint_settings.')),
    history_retention_seconds: Type.Optional(historyRetentionSeconds),
    store_passwords: Type.Optional(flag('Whether passwords of roles can be revealed. By default true.')),
    provisioner: Type.Optional(provisioner),
    branch: Type.Optional(
      requestObject({
        name: Type.Optional(text(1, 256, 'By default main.')),
        role_name: Type.Optional(postgresName('By default neondb_owner.')),
        database_name: Type.Optional(postgresName('By default neondb.')),
        annotations: Type.Optional(annotationValue),
      }),
    ),
  }),
});

export const ProjectUpdateBody = requestObject({
  project: requestObject({
    name: Type.Optional(text(1, 256, 'New name.')),
    settings: Type.Optional(ProjectSettingsInput),
    default_endpoint_settings: Type.Optional(DefaultEndpointSettingsInput),
    history_retention_seconds: Type.Optional(historyRetentionSeconds),
  }),
});

export const ConnectionDetails = responseObject('ConnectionDetails', {
  connection_uri: Type.String({ description: 'Ready to be pasted into a client.' }),
  connection_parameters: Type.Object({
    database: Type.String(),
    password: Type.String(),
    role: Type.String(),
    host: Type.String(),
    pooler_host: Type.String(),
  }),
});

export type ProjectCreateBody = Static<typeof ProjectCreateBody>;
export type ProjectUpdateBody = Static<typeof ProjectUpdateBody>;
