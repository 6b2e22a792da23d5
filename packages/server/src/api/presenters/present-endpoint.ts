import type { Endpoint as EndpointSchema } from '@tenantry/contract/endpoint.ts';
import type { Static } from 'typebox';
import type { Endpoint } from '../../platform/platform.ts';
import { defined } from '../defined.ts';
import { toOptionalTimestamp, toTimestamp } from './timestamp.ts';

/** The one of Neon's documented values that can resize computes; clients refuse values that they do not know. */
export const PROVISIONER = 'k8s-neonvm';

export function presentEndpoint(endpoint: Endpoint, domain: string): Static<typeof EndpointSchema> {
  return {
    id: endpoint.id,
    host: endpoint.hostname,
    project_id: endpoint.projectId,
    branch_id: endpoint.branchId,
    autoscaling_limit_min_cu: endpoint.minCu,
    autoscaling_limit_max_cu: endpoint.maxCu,
    region_id: endpoint.regionId,
    type: endpoint.type,
    current_state: endpoint.state,
    settings: { pg_settings: { ...endpoint.pgSettings } },
    pooler_enabled: endpoint.poolerEnabled,
    pooler_mode: 'transaction',
    disabled: endpoint.disabled,
    passwordless_access: false,
    creation_source: endpoint.creationSource,
    created_at: toTimestamp(endpoint.createdAt),
    updated_at: toTimestamp(endpoint.updatedAt),
    proxy_host: domain,
    suspend_timeout_seconds: endpoint.suspendTimeoutSeconds,
    provisioner: PROVISIONER,
    ...defined({
      name: endpoint.name ?? undefined,
      pending_state: endpoint.pendingState ?? undefined,
      replica_lag_bytes: endpoint.replicaLagBytes ?? undefined,
      last_active: toOptionalTimestamp(endpoint.lastActiveAt),
      started_at: toOptionalTimestamp(endpoint.startedAt),
      suspended_at: toOptionalTimestamp(endpoint.suspendedAt),
      compute_release_version: endpoint.computeReleaseVersion ?? undefined,
    }),
  };
}
