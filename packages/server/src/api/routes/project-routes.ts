import { PAGE_LIMIT_DEFAULT } from '@tenantry/contract/pagination.ts';
import type { ProjectCreateBody, ProjectUpdateBody } from '@tenantry/contract/project.ts';
import { PlatformError } from '../../kernel/errors.ts';
import type { CreateProjectInput, UpdateProjectInput } from '../../platform/platform.ts';
import { defined } from '../defined.ts';
import type { HandlerContext, Handlers } from '../handlers.ts';
import { emptyPage, isEnd, presentPagination, toPageRequest } from '../presenters/pagination.ts';
import { presentBranch } from '../presenters/present-branch.ts';
import { presentDatabase } from '../presenters/present-database.ts';
import { presentEndpoint } from '../presenters/present-endpoint.ts';
import { presentOperations } from '../presenters/present-operation.ts';
import { presentConnection, presentProject, presentProjectListItem } from '../presenters/present-project.ts';
import { presentRole } from '../presenters/present-role.ts';
import { toDefaultEndpointSettings, toProjectSettings } from './project-settings-input.ts';

type Names =
  | 'createProject'
  | 'listProjects'
  | 'listSharedProjects'
  | 'getProject'
  | 'updateProject'
  | 'deleteProject'
  | 'getConnectionURI';

export function projectRoutes({ platform, regions, domain }: HandlerContext): Pick<Handlers, Names> {
  const { projects } = platform;
  return {
    createProject: async ({ principal, body }) => {
      const created = await projects.create(principal, toCreateInput(body.project, regions));
      return {
        project: presentProject(created.project, domain),
        connection_uris: [presentConnection(created.connection)],
        roles: [presentRole(created.role, created.password)],
        databases: [presentDatabase(created.database)],
        ...presentOperations(created.operations),
        branch: presentBranch(created.branch),
        endpoints: created.endpoints.map((endpoint) => presentEndpoint(endpoint, domain)),
      };
    },

    listProjects: async ({ principal, query }) => {
      const request = toPageRequest(query, PAGE_LIMIT_DEFAULT);
      const filter = defined({ search: query.search, organizationId: query.org_id });
      const page = isEnd(query) ? emptyPage : await projects.list(principal, { ...request, ...filter });
      return {
        projects: page.items.map((project) => presentProjectListItem(project, domain)),
        ...presentPagination(page, request.limit),
        applications: {},
        integrations: {},
      };
    },

    listSharedProjects: async () => ({ projects: [] }),

    getProject: async ({ principal, params }) => ({
      project: presentProject(await projects.get(principal, params.project_id), domain),
    }),

    updateProject: async ({ principal, params, body }) => {
      const change = await projects.update(principal, params.project_id, toUpdateInput(body.project));
      return { project: presentProject(change.project, domain), ...presentOperations(change.operations) };
    },

    deleteProject: async ({ principal, params }) => ({
      project: presentProject(await projects.delete(principal, params.project_id), domain),
    }),

    getConnectionURI: async ({ principal, params, query }) => {
      const connection = await projects.connection(principal, params.project_id, {
        databaseName: query.database_name,
        roleName: query.role_name,
        ...defined({ branchId: query.branch_id, endpointId: query.endpoint_id, pooled: query.pooled }),
      });
      return { uri: connection.connectionUri };
    },
  };
}

function toCreateInput(project: ProjectCreateBody['project'], regions: readonly string[]): CreateProjectInput {
  const branch = project.branch && {
    name: project.branch.name,
    roleName: project.branch.role_name,
    databaseName: project.branch.database_name,
    annotations: project.branch.annotations,
  };
  return defined({
    name: project.name,
    regionId: toRegionId(project.region_id, regions),
    organizationId: project.org_id,
    pgVersion: project.pg_version,
    settings: project.settings && toProjectSettings(project.settings),
    defaultEndpointSettings: toEndpointDefaults(project),
    historyRetentionSeconds: project.history_retention_seconds,
    storePasswords: project.store_passwords,
    branch: branch && defined(branch),
  });
}

const toUpdateInput = (project: ProjectUpdateBody['project']): UpdateProjectInput =>
  defined({
    name: project.name,
    settings: project.settings && toProjectSettings(project.settings),
    defaultEndpointSettings:
      project.default_endpoint_settings && toDefaultEndpointSettings(project.default_endpoint_settings),
    historyRetentionSeconds: project.history_retention_seconds,
  });

/** Undefined leaves the choice to the platform. */
function toRegionId(wanted: string | undefined, regions: readonly string[]): string | undefined {
  if (wanted !== undefined && regions.length > 0 && !regions.includes(wanted)) {
    throw new PlatformError(
      'INVALID_REQUEST',
      `Cannot accept project.region_id: it takes one of ${regions.join(', ')}`,
    );
  }
  return wanted ?? regions[0];
}

/** Old clients give the sizes beside `default_endpoint_settings` and not in it. */
function toEndpointDefaults(project: ProjectCreateBody['project']) {
  const {
    default_endpoint_settings: settings,
    autoscaling_limit_min_cu: minCu,
    autoscaling_limit_max_cu: maxCu,
  } = project;
  if (settings && (minCu ?? maxCu) !== undefined) {
    throw new PlatformError(
      'INVALID_REQUEST',
      'Cannot accept autoscaling limits both in project and in project.default_endpoint_settings: give them in the latter',
    );
  }
  if (settings) return toDefaultEndpointSettings(settings);
  if ((minCu ?? maxCu) === undefined) return undefined;
  return defined({ autoscalingLimitMinCu: minCu, autoscalingLimitMaxCu: maxCu });
}
