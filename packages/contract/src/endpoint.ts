import { choice, flag, id, only, requestObject, responseObject, text, timestamp, Type, type Static } from './schema.ts';

/** 1 compute unit (CU) is 1 vCPU and 4 GB of memory. */
export const computeUnits = (description: string) => Type.Number({ minimum: 0.25, maximum: 56, description });

export const suspendTimeoutSeconds = Type.Integer({
  minimum: -1,
  maximum: 604_800,
  description: 'Seconds of idleness after which a compute is suspended. 0: the default (300); -1: never.',
});

export const pgSettings = Type.Record(Type.String(), Type.String(), {
  description: 'Postgres settings by name, as text.',
});

/** Taken, and without effect: every compute of Tenantry is a process on its host. */
export const provisioner = choice(['k8s-pod', 'k8s-neonvm', 'serverless-platform'], 'Has no effect.');

export const POOLER_SETTINGS_REFUSED = 'the pooler takes no settings';
export const PRELOAD_LIBRARIES_REFUSED = 'libraries cannot be chosen for preloading';

export const Endpoint = responseObject('Endpoint', {
  id: id('Endpoint id.'),
  host: Type.String({ description: 'Host name to connect to.' }),
  name: Type.Optional(Type.String()),
  project_id: id('Project id.'),
  branch_id: id('Branch id.'),
  autoscaling_limit_min_cu: computeUnits('Smallest size.'),
  autoscaling_limit_max_cu: computeUnits('Largest size.'),
  region_id: Type.String(),
  type: choice(['read_write', 'read_only'], 'What its computes may do.'),
  current_state: choice(['init', 'active', 'idle'], 'init before the first start; idle while it sleeps.'),
  pending_state: Type.Optional(choice(['active', 'idle'], 'The state that it is going to.')),
  settings: Type.Object({ pg_settings: Type.Optional(pgSettings) }),
  pooler_enabled: flag('For old clients: pooling is chosen by the host name, not by this.'),
  pooler_mode: choice(['transaction'], 'How the pooler shares connections.'),
  disabled: flag('True: nobody can connect.'),
  passwordless_access: flag('Always false: every role needs its password.'),
  replica_lag_bytes: Type.Optional(
    Type.Integer({ description: 'Bytes of WAL that an awake read-only endpoint has still to replay.' }),
  ),
  last_active: Type.Optional(timestamp('When a client was last active.')),
  creation_source: Type.String(),
  created_at: timestamp('When it was created.'),
  updated_at: timestamp('Its last change.'),
  started_at: Type.Optional(timestamp('Last start of its compute.')),
  suspended_at: Type.Optional(timestamp('Last suspend of its compute.')),
  proxy_host: Type.String({ description: 'Host name of the gateway.' }),
  suspend_timeout_seconds: suspendTimeoutSeconds,
  provisioner: Type.String(),
  compute_release_version: Type.Optional(Type.String({ description: 'Version of the engine that runs.' })),
});

const settings = requestObject(
  { pg_settings: Type.Optional(pgSettings) },
  { pgbouncer_settings: POOLER_SETTINGS_REFUSED, preload_libraries: PRELOAD_LIBRARIES_REFUSED },
);

const type = choice(['read_write', 'read_only'], 'A branch has at most one that is read_write.');

/** Of an endpoint that is made with its branch. */
export const endpointFields = {
  type,
  settings: Type.Optional(settings),
  autoscaling_limit_min_cu: Type.Optional(computeUnits('Smallest size.')),
  autoscaling_limit_max_cu: Type.Optional(computeUnits('Largest size.')),
  provisioner: Type.Optional(provisioner),
  suspend_timeout_seconds: Type.Optional(suspendTimeoutSeconds),
};

const oldFields = {
  pooler_mode: Type.Optional(choice(['transaction'], 'The one mode there is.')),
  pooler_enabled: Type.Optional(only(false, 'pooling is chosen by the host name')),
  passwordless_access: Type.Optional(only(false, 'every role needs its password')),
};

export const EndpointCreateBody = requestObject({
  endpoint: requestObject({
    branch_id: id('Branch id.'),
    ...endpointFields,
    name: Type.Optional(text(1, 64, 'Name of the endpoint.')),
    region_id: Type.Optional(Type.String({ maxLength: 60, description: 'Only that of the project.' })),
    disabled: Type.Optional(flag('True: nobody can connect.')),
    ...oldFields,
  }),
});

export const EndpointUpdateBody = requestObject({
  endpoint: requestObject(
    {
      name: Type.Optional(text(1, 64, 'Name of the endpoint.')),
      autoscaling_limit_min_cu: Type.Optional(computeUnits('Smallest size.')),
      autoscaling_limit_max_cu: Type.Optional(computeUnits('Largest size.')),
      suspend_timeout_seconds: Type.Optional(suspendTimeoutSeconds),
      disabled: Type.Optional(flag('True: suspends the compute, and nobody can connect.')),
      settings: Type.Optional(settings),
      provisioner: Type.Optional(provisioner),
      ...oldFields,
    },
    { branch_id: 'an endpoint cannot move to another branch' },
  ),
});

export type EndpointCreateBody = Static<typeof EndpointCreateBody>;
