import { badField, checkInteger, checkName, isId } from '../checks.ts';
import { checkAnnotations } from '../branches/branch-checks.ts';
import { checkDatabaseName, checkRoleName } from '../catalog/catalog-name.ts';
import type { PlatformContext } from '../context.ts';
import { DEFAULT_PG_VERSION } from '../hosts/host-engines.ts';
import type { CreateProjectInput, ProjectSettings } from '../platform.ts';
import { checkDefaultEndpointSettings, checkProjectSettings } from './project-settings.ts';

/** Every template of a volume holds these two. */
export const TEMPLATE_ROLE = 'neondb_owner';
export const TEMPLATE_DATABASE = 'neondb';

const DEFAULT_REGION = 'local';
const DEFAULT_BRANCH_NAME = 'main';
const DAY_SECONDS = 86_400;
const HISTORY_MAX_SECONDS = 30 * DAY_SECONDS;

/** What a new project is to be like: checked, with nothing left open. */
export interface CheckedProject {
  readonly name: string;
  readonly regionId: string;
  readonly pgVersion: number;
  readonly settings: ProjectSettings;
  readonly defaultEndpointSettings: ReturnType<typeof checkDefaultEndpointSettings>;
  readonly historyRetentionSeconds: number;
  readonly storePasswords: boolean;
  readonly branchName: string;
  readonly roleName: string;
  readonly databaseName: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** @throws PlatformError INVALID_REQUEST, RESERVED_NAME */
export function checkNewProject(
  context: PlatformContext,
  input: CreateProjectInput,
  projectId: string,
): CheckedProject {
  const { regionId = DEFAULT_REGION, pgVersion = DEFAULT_PG_VERSION } = input;
  if (!isId(regionId)) {
    throw badField('project.region_id', '1 to 60 lower-case letters, digits and hyphens, such as aws-us-east-2');
  }
  const names = {
    branchName: checkName('project.branch.name', input.branch?.name ?? DEFAULT_BRANCH_NAME),
    databaseName: checkDatabaseName(input.branch?.databaseName ?? TEMPLATE_DATABASE, 'project.branch.database_name'),
    roleName: checkRoleName(input.branch?.roleName ?? defaultRoleName(input), 'project.branch.role_name'),
  };
  return {
    ...names,
    name: checkName('project.name', input.name ?? projectId),
    regionId,
    pgVersion,
    settings: checkProjectSettings(input.settings ?? {}),
    defaultEndpointSettings: checkDefaultEndpointSettings(context, input.defaultEndpointSettings ?? {}, pgVersion),
    historyRetentionSeconds: checkHistoryRetention(input.historyRetentionSeconds ?? DAY_SECONDS),
    annotations: checkAnnotations(input.branch?.annotations ?? {}, 'project.branch.annotations'),
    storePasswords: input.storePasswords ?? true,
  };
}

/** As in `{database}_owner`, unless that would be too long to be a name. */
function defaultRoleName({ branch }: CreateProjectInput): string {
  const name = `${branch?.databaseName ?? TEMPLATE_DATABASE}_owner`;
  return Buffer.byteLength(name) > 63 ? TEMPLATE_ROLE : name;
}

/** @throws PlatformError INVALID_REQUEST */
export const checkHistoryRetention = (seconds: number): number =>
  checkInteger('project.history_retention_seconds', seconds, 0, HISTORY_MAX_SECONDS);
