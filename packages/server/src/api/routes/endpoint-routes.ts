import { PlatformError } from '../../kernel/errors.ts';
import { defined } from '../defined.ts';
import type { EndpointChange } from '../../platform/platform.ts';
import type { HandlerContext, Handlers } from '../handlers.ts';
import { presentEndpoint } from '../presenters/present-endpoint.ts';
import { presentOperations } from '../presenters/present-operation.ts';
import { toNewEndpoint } from './endpoint-input.ts';

type Names =
  | 'listProjectEndpoints'
  | 'listProjectBranchEndpoints'
  | 'getProjectEndpoint'
  | 'createProjectEndpoint'
  | 'deleteProjectEndpoint'
  | 'updateProjectEndpoint'
  | 'startProjectEndpoint'
  | 'suspendProjectEndpoint'
  | 'restartProjectEndpoint';

export function endpointRoutes({ platform, domain }: HandlerContext): Pick<Handlers, Names> {
  const { endpoints, projects } = platform;
  const presentChange = (change: EndpointChange) => ({
    endpoint: presentEndpoint(change.endpoint, domain),
    ...presentOperations(change.operations),
  });
  return {
    listProjectEndpoints: async ({ principal, params }) => {
      const list = await endpoints.list(principal, params.project_id);
      return { endpoints: list.map((endpoint) => presentEndpoint(endpoint, domain)) };
    },

    listProjectBranchEndpoints: async ({ principal, params }) => {
      const list = await endpoints.list(principal, params.project_id, params.branch_id);
      return { endpoints: list.map((endpoint) => presentEndpoint(endpoint, domain)) };
    },

    getProjectEndpoint: async ({ principal, params }) => ({
      endpoint: presentEndpoint(await endpoints.get(principal, params.project_id, params.endpoint_id), domain),
    }),

    createProjectEndpoint: async ({ principal, params, body: { endpoint } }) => {
      const input = { ...toNewEndpoint(endpoint), branchId: endpoint.branch_id };
      if (endpoint.region_id !== undefined) {
        const { regionId } = await projects.get(principal, params.project_id);
        if (regionId !== endpoint.region_id) {
          throw new PlatformError(
            'INVALID_REQUEST',
            `Cannot accept endpoint.region_id: it takes the region of the project, ${regionId}`,
          );
        }
      }
      return presentChange(await endpoints.create(principal, params.project_id, input));
    },

    deleteProjectEndpoint: async ({ principal, params }) =>
      presentChange(await endpoints.delete(principal, params.project_id, params.endpoint_id)),

    updateProjectEndpoint: async ({ principal, params, body: { endpoint } }) => {
      const input = defined({
        name: endpoint.name,
        minCu: endpoint.autoscaling_limit_min_cu,
        maxCu: endpoint.autoscaling_limit_max_cu,
        suspendTimeoutSeconds: endpoint.suspend_timeout_seconds,
        disabled: endpoint.disabled,
        pgSettings: endpoint.settings?.pg_settings,
      });
      return presentChange(await endpoints.update(principal, params.project_id, params.endpoint_id, input));
    },

    startProjectEndpoint: async ({ principal, params }) =>
      presentChange(await endpoints.start(principal, params.project_id, params.endpoint_id)),

    suspendProjectEndpoint: async ({ principal, params }) =>
      presentChange(await endpoints.suspend(principal, params.project_id, params.endpoint_id)),

    restartProjectEndpoint: async ({ principal, params }) =>
      presentChange(await endpoints.restart(principal, params.project_id, params.endpoint_id)),
  };
}
