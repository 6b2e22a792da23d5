import { Annotation, Branch, BranchCreateBody, BranchUpdateBody } from './branch.ts';
import { Database, DatabaseCreateBody, DatabaseUpdateBody } from './database.ts';
import { Endpoint } from './endpoint.ts';
import { operations } from './operation.ts';
import { BRANCHES_PAGE_LIMIT_DEFAULT, pageQuery, sortedPagination, sortQuery } from './pagination.ts';
import { ConnectionDetails } from './project.ts';
import { Role, RoleCreateBody } from './role.ts';
import { branchParams, databaseParams, projectParams, roleParams, route } from './route.ts';
import { count, flag, requestObject, text, Type } from './schema.ts';

const BRANCHES_PAGE_LIMIT_MAX = 10_000;

const search = { search: Type.Optional(text(0, 256, 'Part of a name or id.')) };
const BRANCHES = '/projects/{project_id}/branches';
const BRANCH = `${BRANCHES}/{branch_id}`;
const ROLE = `${BRANCH}/roles/{role_name}`;
const DATABASE = `${BRANCH}/databases/{database_name}`;

const branchChange = Type.Object({ branch: Branch, ...operations });
const roleChange = Type.Object({ role: Role, ...operations });
const databaseChange = Type.Object({ database: Database, ...operations });

/** Branches, with their roles and databases. */
export const branchRoutes = {
  createProjectBranch: route('POST', BRANCHES, {
    tag: 'Branch',
    summary: 'Create a branch of another at a moment, or of its schema alone',
    params: projectParams,
    body: BranchCreateBody,
    status: 201,
    response: Type.Object({
      branch: Branch,
      endpoints: Type.Array(Endpoint),
      ...operations,
      roles: Type.Array(Role),
      databases: Type.Array(Database),
      connection_uris: Type.Optional(Type.Array(ConnectionDetails)),
    }),
  }),
  listProjectBranches: route('GET', BRANCHES, {
    tag: 'Branch',
    summary: 'List branches',
    params: projectParams,
    query: requestObject({
      ...pageQuery(BRANCHES_PAGE_LIMIT_MAX, BRANCHES_PAGE_LIMIT_DEFAULT),
      ...sortQuery,
      ...search,
      include_deleted: Type.Optional(flag('True: also those that can be recovered.')),
    }),
    response: Type.Object({
      branches: Type.Array(Branch),
      annotations: Type.Record(Type.String(), Annotation),
      pagination: sortedPagination,
    }),
  }),
  countProjectBranches: route('GET', `${BRANCHES}/count`, {
    tag: 'Branch',
    summary: 'Count branches',
    params: projectParams,
    query: requestObject(search),
    response: Type.Object({ count: count('Number of branches.') }),
  }),
  getProjectBranch: route('GET', BRANCH, {
    tag: 'Branch',
    summary: 'Get a branch',
    params: branchParams,
    response: Type.Object({ branch: Branch, annotation: Annotation }),
  }),
  updateProjectBranch: route('PATCH', BRANCH, {
    tag: 'Branch',
    summary: 'Rename or protect a branch, or set when it expires',
    params: branchParams,
    body: BranchUpdateBody,
    response: branchChange,
  }),
  setDefaultProjectBranch: route('POST', `${BRANCH}/set_as_default`, {
    tag: 'Branch',
    summary: 'Make a branch the default one',
    params: branchParams,
    response: branchChange,
  }),
  deleteProjectBranch: route('DELETE', BRANCH, {
    tag: 'Branch',
    summary: 'Delete a branch; it can be recovered for 7 days',
    params: branchParams,
    query: requestObject({ hard_delete: Type.Optional(flag('True: for good, at once.')) }),
    response: branchChange,
  }),
  recoverProjectBranch: route('POST', `${BRANCH}/recover`, {
    tag: 'Branch',
    summary: 'Take the deletion of a branch back',
    params: branchParams,
    response: Type.Object({ branch: Branch, endpoints: Type.Array(Endpoint) }),
  }),
  listProjectBranchEndpoints: route('GET', `${BRANCH}/endpoints`, {
    tag: 'Endpoint',
    summary: 'List the endpoints of a branch',
    params: branchParams,
    response: Type.Object({ endpoints: Type.Array(Endpoint) }),
  }),
  listProjectBranchRoles: route('GET', `${BRANCH}/roles`, {
    tag: 'Role',
    summary: 'List roles',
    params: branchParams,
    response: Type.Object({ roles: Type.Array(Role) }),
  }),
  createProjectBranchRole: route('POST', `${BRANCH}/roles`, {
    tag: 'Role',
    summary: 'Create a role and show its password',
    params: branchParams,
    body: RoleCreateBody,
    status: 201,
    response: roleChange,
  }),
  getProjectBranchRole: route('GET', ROLE, {
    tag: 'Role',
    summary: 'Get a role',
    params: roleParams,
    response: Type.Object({ role: Role }),
  }),
  deleteProjectBranchRole: route('DELETE', ROLE, {
    tag: 'Role',
    summary: 'Delete a role',
    params: roleParams,
    response: roleChange,
  }),
  getProjectBranchRolePassword: route('GET', `${ROLE}/reveal_password`, {
    tag: 'Role',
    summary: 'Reveal the password of a role',
    params: roleParams,
    response: Type.Object({ password: Type.String() }),
    conflictStatus: 412,
  }),
  resetProjectBranchRolePassword: route('POST', `${ROLE}/reset_password`, {
    tag: 'Role',
    summary: 'Give a role a new password and show it',
    params: roleParams,
    response: roleChange,
  }),
  listProjectBranchDatabases: route('GET', `${BRANCH}/databases`, {
    tag: 'Database',
    summary: 'List databases',
    params: branchParams,
    response: Type.Object({ databases: Type.Array(Database) }),
  }),
  createProjectBranchDatabase: route('POST', `${BRANCH}/databases`, {
    tag: 'Database',
    summary: 'Create a database',
    params: branchParams,
    body: DatabaseCreateBody,
    status: 201,
    response: databaseChange,
  }),
  getProjectBranchDatabase: route('GET', DATABASE, {
    tag: 'Database',
    summary: 'Get a database',
    params: databaseParams,
    response: Type.Object({ database: Database }),
  }),
  updateProjectBranchDatabase: route('PATCH', DATABASE, {
    tag: 'Database',
    summary: 'Rename a database or give it another owner',
    params: databaseParams,
    body: DatabaseUpdateBody,
    response: databaseChange,
  }),
  deleteProjectBranchDatabase: route('DELETE', DATABASE, {
    tag: 'Database',
    summary: 'Delete a database with all that it holds',
    params: databaseParams,
    response: databaseChange,
  }),
} as const;
