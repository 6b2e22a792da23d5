import type { EndpointCreateBody } from '@tenantry/contract/endpoint.ts';
import type { NewEndpointInput } from '../../platform/platform.ts';
import { defined } from '../defined.ts';

type Fields = Omit<EndpointCreateBody['endpoint'], 'branch_id'>;

/** From the wire to the platform. */
export function toNewEndpoint(endpoint: Fields): NewEndpointInput {
  return {
    type: endpoint.type,
    ...defined({
      name: endpoint.name,
      minCu: endpoint.autoscaling_limit_min_cu,
      maxCu: endpoint.autoscaling_limit_max_cu,
      suspendTimeoutSeconds: endpoint.suspend_timeout_seconds,
      disabled: endpoint.disabled,
      pgSettings: endpoint.settings?.pg_settings,
    }),
  };
}
