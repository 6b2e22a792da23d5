import { Branch } from './branch.ts';
import { Database } from './database.ts';
import { Endpoint, EndpointCreateBody, EndpointUpdateBody } from './endpoint.ts';
import { Operation, operations } from './operation.ts';
import { PAGE_LIMIT_DEFAULT, pageQuery, pagination } from './pagination.ts';
import { ConnectionDetails, Project, ProjectCreateBody, ProjectListItem, ProjectUpdateBody } from './project.ts';
import { Role } from './role.ts';
import { endpointParams, operationParams, projectParams, route } from './route.ts';
import { flag, id, only, requestObject, text, Type } from './schema.ts';

const PROJECTS_PAGE_LIMIT_MAX = 400;
const OPERATIONS_PAGE_LIMIT_MAX = 1000;

const projectsQuery = {
  ...pageQuery(PROJECTS_PAGE_LIMIT_MAX, PAGE_LIMIT_DEFAULT),
  search: Type.Optional(text(0, 256, 'Part of a name or id.')),
  timeout: Type.Optional(
    Type.Integer({ minimum: 100, maximum: 30_000, description: 'Has no effect: lists are always whole.' }),
  ),
};

const projectBody = { project: Project };
const endpointBody = { endpoint: Endpoint };
const tag = 'Project';

/** Projects, with their operations and endpoints. */
export const projectRoutes = {
  createProject: route('POST', '/projects', {
    tag,
    summary: 'Create a project with a branch, an endpoint, a role and a database',
    body: ProjectCreateBody,
    status: 201,
    response: Type.Object({
      ...projectBody,
      connection_uris: Type.Array(ConnectionDetails),
      roles: Type.Array(Role),
      databases: Type.Array(Database),
      ...operations,
      branch: Branch,
      endpoints: Type.Array(Endpoint),
    }),
  }),
  listProjects: route('GET', '/projects', {
    tag,
    summary: 'List projects',
    query: requestObject({
      ...projectsQuery,
      org_id: Type.Optional(id('Only projects of this organization.')),
      recoverable: Type.Optional(only(false, 'deleted projects cannot be recovered yet')),
    }),
    response: Type.Object({
      projects: Type.Array(ProjectListItem),
      pagination,
      applications: Type.Record(Type.String(), Type.Array(Type.String())),
      integrations: Type.Record(Type.String(), Type.Array(Type.String())),
    }),
  }),
  listSharedProjects: route('GET', '/projects/shared', {
    tag,
    summary: 'List projects that others share with the user: always empty',
    query: requestObject(projectsQuery),
    response: Type.Object({ projects: Type.Array(ProjectListItem), pagination }),
  }),
  getProject: route('GET', '/projects/{project_id}', {
    tag,
    summary: 'Get a project',
    params: projectParams,
    response: Type.Object(projectBody),
  }),
  updateProject: route('PATCH', '/projects/{project_id}', {
    tag,
    summary: 'Update a project',
    params: projectParams,
    body: ProjectUpdateBody,
    response: Type.Object({ ...projectBody, ...operations }),
  }),
  deleteProject: route('DELETE', '/projects/{project_id}', {
    tag,
    summary: 'Delete a project with all that it holds',
    params: projectParams,
    response: Type.Object(projectBody),
  }),
  getConnectionURI: route('GET', '/projects/{project_id}/connection_uri', {
    tag,
    summary: 'Get a connection URI',
    params: projectParams,
    query: requestObject({
      branch_id: Type.Optional(id('By default the default branch.')),
      endpoint_id: Type.Optional(id('By default the read-write endpoint of the branch.')),
      database_name: text(1, 255, 'Database to connect to.'),
      role_name: text(1, 255, 'Role to connect as.'),
      pooled: Type.Optional(flag('True: through the pooler.')),
    }),
    response: Type.Object({ uri: Type.String() }),
  }),
  listProjectOperations: route('GET', '/projects/{project_id}/operations', {
    tag: 'Operation',
    summary: 'List operations, newest first',
    params: projectParams,
    query: requestObject(pageQuery(OPERATIONS_PAGE_LIMIT_MAX, PAGE_LIMIT_DEFAULT)),
    response: Type.Object({ ...operations, pagination }),
  }),
  getProjectOperation: route('GET', '/projects/{project_id}/operations/{operation_id}', {
    tag: 'Operation',
    summary: 'Get an operation',
    params: operationParams,
    response: Type.Object({ operation: Operation }),
  }),
  createProjectEndpoint: route('POST', '/projects/{project_id}/endpoints', {
    tag: 'Endpoint',
    summary: 'Create an endpoint',
    params: projectParams,
    body: EndpointCreateBody,
    status: 201,
    response: Type.Object({ ...endpointBody, ...operations }),
  }),
  deleteProjectEndpoint: route('DELETE', '/projects/{project_id}/endpoints/{endpoint_id}', {
    tag: 'Endpoint',
    summary: 'Delete an endpoint',
    params: endpointParams,
    response: Type.Object({ ...endpointBody, ...operations }),
  }),
  listProjectEndpoints: route('GET', '/projects/{project_id}/endpoints', {
    tag: 'Endpoint',
    summary: 'List the endpoints of a project',
    params: projectParams,
    response: Type.Object({ endpoints: Type.Array(Endpoint) }),
  }),
  getProjectEndpoint: route('GET', '/projects/{project_id}/endpoints/{endpoint_id}', {
    tag: 'Endpoint',
    summary: 'Get an endpoint',
    params: endpointParams,
    response: Type.Object(endpointBody),
  }),
  updateProjectEndpoint: route('PATCH', '/projects/{project_id}/endpoints/{endpoint_id}', {
    tag: 'Endpoint',
    summary: 'Update an endpoint',
    params: endpointParams,
    body: EndpointUpdateBody,
    response: Type.Object({ ...endpointBody, ...operations }),
  }),
  startProjectEndpoint: route('POST', '/projects/{project_id}/endpoints/{endpoint_id}/start', {
    tag: 'Endpoint',
    summary: 'Start the compute of an endpoint',
    params: endpointParams,
    response: Type.Object({ ...endpointBody, ...operations }),
  }),
  suspendProjectEndpoint: route('POST', '/projects/{project_id}/endpoints/{endpoint_id}/suspend', {
    tag: 'Endpoint',
    summary: 'Suspend the compute of an endpoint',
    params: endpointParams,
    response: Type.Object({ ...endpointBody, ...operations }),
  }),
  restartProjectEndpoint: route('POST', '/projects/{project_id}/endpoints/{endpoint_id}/restart', {
    tag: 'Endpoint',
    summary: 'Restart the compute of an endpoint',
    params: endpointParams,
    response: Type.Object({ ...endpointBody, ...operations }),
  }),
} as const;
