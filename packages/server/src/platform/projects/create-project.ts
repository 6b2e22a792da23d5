import { newBranchId, newEndpointId, newProjectId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { chooseOrganization } from '../accounts/choose-organization.ts';
import { insertBranch } from '../branches/branch-changes.ts';
import { insertCatalogChange } from '../catalog/catalog-change-rows.ts';
import type { UnnumberedChange } from '../catalog/catalog-change.ts';
import { awaitOperations, runCommand, type Command } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { getDatabase } from '../databases/get-database.ts';
import { insertDatabase } from '../databases/database-rows.ts';
import { getBranch } from '../branches/get-branch.ts';
import { insertEndpoint, listEndpointRows } from '../endpoints/endpoint-rows.ts';
import { startCompute } from '../endpoints/start-endpoint.ts';
import { assertRoom } from '../hosts/assert-room.ts';
import { ensureHost } from '../hosts/host-rows.ts';
import type { HostEngines } from '../hosts/host-engines.ts';
import type { CreatedProject, CreateProjectInput, Principal } from '../platform.ts';
import { getRole } from '../roles/get-role.ts';
import { newRoleSecret, type NewRoleSecret } from '../roles/new-role-secret.ts';
import { insertRole } from '../roles/role-rows.ts';
import { toConnectionInfo } from './connection-uri.ts';
import { createTimeline } from './create-timeline.ts';
import { getProject } from './get-project.ts';
import { checkNewProject, TEMPLATE_DATABASE, TEMPLATE_ROLE, type CheckedProject } from './new-project.ts';
import { countProjects, insertProject } from './project-rows.ts';

const PROJECTS_MAX = 100_000;

interface NewIds {
  readonly projectId: string;
  readonly branchId: ReturnType<typeof newBranchId>;
  readonly endpointId: ReturnType<typeof newEndpointId>;
}

/**
 * A project with its branch, endpoint, role and database. Answers once the volume is there; the compute goes on
 * starting, and a connect joins it. If the volume cannot be made, nothing is left of the project.
 * @throws PlatformError INVALID_REQUEST, RESERVED_NAME, UNKNOWN_PG_VERSION, ENGINE_NOT_INSTALLED, NO_SPACE, ...
 */
export async function createProject(
  context: PlatformContext,
  engines: HostEngines,
  principal: Principal,
  input: CreateProjectInput,
): Promise<CreatedProject> {
  if (principal.kind === 'project') {
    throw new PlatformError('FORBIDDEN', 'Cannot create a project: this key is for one project only');
  }
  const organizationId = chooseOrganization(principal, input.organizationId);
  const ids: NewIds = { projectId: newProjectId(), branchId: newBranchId(), endpointId: newEndpointId() };
  const wanted = checkNewProject(context, input, ids.projectId);
  const { hostId } = await engines.getHostFor(wanted.pgVersion);
  await assertRoom(context);
  const owner = { branchId: ids.branchId, role: wanted.roleName };
  const secret = newRoleSecret(context.passwords, owner, wanted);

  const { operations } = await runCommand(
    context,
    async (command) => {
      const { tx } = command;
      if ((await countProjects(tx, organizationId, PROJECTS_MAX)) >= PROJECTS_MAX) {
        throw new PlatformError(
          'PROJECTS_LIMIT_EXCEEDED',
          `Cannot create a project: the organization has ${PROJECTS_MAX} projects, as many as it may have`,
        );
      }
      await ensureHost(tx, hostId);
      await insertProject(tx, {
        ...wanted,
        id: ids.projectId,
        organizationId,
        hostId,
        creatorUserId: principal.userId,
      });
      await insertBelow(command, { ids, wanted, secret, creatorUserId: principal.userId });
    },
    context.settings.createWaitMs,
  );
  try {
    return await present(context, principal, { ids, wanted, secret, operations });
  } catch (error) {
    // The creation may have failed just after the wait, and been undone.
    const timelineIds = operations.slice(0, 1).map((operation) => operation.id);
    await awaitOperations(context, timelineIds, context.settings.answerWaitMs);
    throw error;
  }
}

interface BelowProject {
  readonly ids: NewIds;
  readonly wanted: CheckedProject;
  readonly secret: NewRoleSecret;
  readonly creatorUserId: string;
}

async function insertBelow(command: Command, { ids, wanted, secret, creatorUserId }: BelowProject): Promise<void> {
  const { tx } = command;
  const { projectId, branchId, endpointId } = ids;
  const { roleName, databaseName, defaultEndpointSettings: defaults } = wanted;
  const { branchName: name, annotations } = wanted;
  await insertBranch(tx, { id: branchId, projectId, name, creatorUserId, isDefault: true, annotations });
  await insertEndpoint(tx, {
    id: endpointId,
    projectId,
    branchId,
    type: 'read_write',
    name: null,
    disabled: false,
    minCu: defaults.autoscalingLimitMinCu,
    maxCu: defaults.autoscalingLimitMaxCu,
    suspendTimeoutSeconds: defaults.suspendTimeoutSeconds,
    pgSettings: defaults.pgSettings ?? {},
  });
  const { verifier, passwordEncrypted } = secret;
  await insertRole(tx, { branchId, name: roleName, verifier, passwordEncrypted });
  await insertDatabase(tx, { branchId, name: databaseName, ownerName: roleName });
  let catalogSeq = 0;
  for (const change of changesToTemplate(roleName, databaseName, verifier)) {
    const secretOf = change.kind === 'put_role' ? { passwordEncrypted } : {};
    catalogSeq = await insertCatalogChange(tx, branchId, { change, undo: { kind: 'nothing' }, ...secretOf });
  }
  command.changeDirectory([endpointId]);
  const timeline = await command.enqueue(createTimeline, { projectId, branchId, endpointId }, { projectId, branchId });
  await command.enqueue(
    startCompute,
    { endpointId, catalogSeq },
    { projectId, branchId, endpointId, dependsOn: [timeline] },
    { inBackground: true },
  );
}

/** A volume comes with role and database of the default names; what differs is changed at the first start. */
function changesToTemplate(roleName: string, databaseName: string, verifier: string): readonly UnnumberedChange[] {
  return [
    ...(roleName === TEMPLATE_ROLE
      ? []
      : [{ kind: 'rename_role', name: TEMPLATE_ROLE, newName: roleName } satisfies UnnumberedChange]),
    { kind: 'put_role', name: roleName, verifier },
    ...(databaseName === TEMPLATE_DATABASE
      ? []
      : [
          {
            kind: 'update_database',
            name: TEMPLATE_DATABASE,
            newName: databaseName,
            owner: roleName,
          } satisfies UnnumberedChange,
        ]),
  ];
}

async function present(
  context: PlatformContext,
  principal: Principal,
  { ids, wanted, secret, operations }: Omit<BelowProject, 'creatorUserId'> & Pick<CreatedProject, 'operations'>,
): Promise<CreatedProject> {
  const { projectId, branchId, endpointId } = ids;
  const [project, branch, endpoints, role, database] = await Promise.all([
    getProject(context, principal, projectId),
    getBranch(context, principal, projectId, branchId),
    listEndpointRows(context.metadata, { projectId }, context.settings.domain),
    getRole(context, principal, projectId, branchId, wanted.roleName),
    getDatabase(context, principal, projectId, branchId, wanted.databaseName),
  ]);
  const connection = toConnectionInfo(context.settings, {
    endpointId,
    role: role.name,
    database: database.name,
    password: secret.password,
    isPooled: false,
  });
  return { project, branch, endpoints, role, password: secret.password, database, connection, operations };
}
