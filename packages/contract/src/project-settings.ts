import {
  computeUnits,
  pgSettings,
  POOLER_SETTINGS_REFUSED,
  PRELOAD_LIBRARIES_REFUSED,
  suspendTimeoutSeconds,
} from './endpoint.ts';
import { count, flag, only, requestObject, responseObject, text, Type, type Static } from './schema.ts';

const ALLOWED_IPS_MAX = 1000;

const maintenanceWindow = {
  weekdays: Type.Array(Type.Integer({ minimum: 1, maximum: 7 }), { maxItems: 7, description: '1 is Monday.' }),
  start_time: Type.String({ pattern: '^([01]\\d|2[0-3]):[0-5]\\d$', description: 'HH:MM, UTC.' }),
  end_time: Type.String({ pattern: '^([01]\\d|2[0-3]):[0-5]\\d$', description: 'HH:MM, UTC.' }),
};

const unlimited = Type.Optional(only(0, 'quotas are not enforced yet'));

/** `settings` of a project as a client gives it. */
export const ProjectSettingsInput = requestObject(
  {
    quota: Type.Optional(
      requestObject({
        active_time_seconds: unlimited,
        compute_time_seconds: unlimited,
        written_data_bytes: unlimited,
        data_transfer_bytes: unlimited,
        logical_size_bytes: unlimited,
      }),
    ),
    allowed_ips: Type.Optional(
      requestObject({
        ips: Type.Optional(
          Type.Array(text(1, 100, 'An address, a CIDR block, or a range a-b.'), {
            maxItems: ALLOWED_IPS_MAX,
            description: 'Addresses that may connect. Empty: all.',
          }),
        ),
        protected_branches_only: Type.Optional(flag('True: others can be connected to from everywhere.')),
      }),
    ),
    enable_logical_replication: Type.Optional(only(false, 'logical replication cannot be enabled yet')),
    maintenance_window: Type.Optional(requestObject(maintenanceWindow)),
    block_public_connections: Type.Optional(only(false, 'public connections are the only ones there are')),
    block_vpc_connections: Type.Optional(flag('Kept. Tenantry has no VPC connections that it could block.')),
    hipaa: Type.Optional(only(false, 'there is no HIPAA mode')),
  },
  {
    audit_log_level: 'there is no audit log yet',
    preload_libraries: PRELOAD_LIBRARIES_REFUSED,
  },
);

/** `default_endpoint_settings` of a project as a client gives it. */
export const DefaultEndpointSettingsInput = requestObject(
  {
    pg_settings: Type.Optional(pgSettings),
    autoscaling_limit_min_cu: Type.Optional(computeUnits('Smallest size.')),
    autoscaling_limit_max_cu: Type.Optional(computeUnits('Largest size.')),
    suspend_timeout_seconds: Type.Optional(suspendTimeoutSeconds),
  },
  { pgbouncer_settings: POOLER_SETTINGS_REFUSED },
);

export const ProjectSettings = responseObject('ProjectSettings', {
  quota: Type.Optional(
    Type.Object({
      active_time_seconds: Type.Optional(count('Seconds awake.')),
      compute_time_seconds: Type.Optional(count('Compute-unit seconds.')),
      written_data_bytes: Type.Optional(count('Bytes written.')),
      data_transfer_bytes: Type.Optional(count('Bytes sent.')),
      logical_size_bytes: Type.Optional(count('Bytes of each branch.')),
    }),
  ),
  allowed_ips: Type.Object({ ips: Type.Array(Type.String()), protected_branches_only: Type.Boolean() }),
  enable_logical_replication: Type.Boolean(),
  maintenance_window: Type.Optional(Type.Object(maintenanceWindow)),
  block_public_connections: Type.Boolean(),
  block_vpc_connections: Type.Boolean(),
  hipaa: Type.Boolean(),
});

export const DefaultEndpointSettings = responseObject('DefaultEndpointSettings', {
  pg_settings: Type.Optional(pgSettings),
  autoscaling_limit_min_cu: Type.Optional(computeUnits('Smallest size.')),
  autoscaling_limit_max_cu: Type.Optional(computeUnits('Largest size.')),
  suspend_timeout_seconds: suspendTimeoutSeconds,
});

export type ProjectSettingsInput = Static<typeof ProjectSettingsInput>;
export type DefaultEndpointSettingsInput = Static<typeof DefaultEndpointSettingsInput>;
