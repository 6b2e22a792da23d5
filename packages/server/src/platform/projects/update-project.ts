import { isDeepStrictEqual } from 'node:util';
import { checkName, notFound } from '../checks.ts';
import { runCommand, type Command } from '../command/run-command.ts';
import type { PlatformContext } from '../context.ts';
import { applyEndpointSpec } from '../endpoints/apply-endpoint-spec.ts';
import { listEndpointRows, raiseGeneration } from '../endpoints/endpoint-rows.ts';
import type { Operation, Principal, Project, UpdateProjectInput } from '../platform.ts';
import { applyHistoryRetention } from './apply-history-retention.ts';
import { getProject } from './get-project.ts';
import { checkHistoryRetention } from './new-project.ts';
import { getProjectAccess } from './project-access.ts';
import { findProjectRow, lockProject, updateProjectRow, type ProjectRow, type ProjectUpdate } from './project-rows.ts';
import { checkDefaultEndpointSettings, checkProjectSettings } from './project-settings.ts';

/** Settings that are not named stay as they are. Operations only where a compute has to know. */
export async function updateProject(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  input: UpdateProjectInput,
): Promise<{ project: Project; operations: readonly Operation[] }> {
  await getProjectAccess(context.metadata, principal, projectId);
  const { operations } = await runCommand(context, async (command) => {
    if (!(await lockProject(command.tx, projectId))) throw notFound('project', projectId);
    const before = await findProjectRow(command.tx, projectId);
    if (before) await change(context, command, before, toWanted(context, before, input));
  });
  return { project: await getProject(context, principal, projectId), operations };
}

function toWanted(context: PlatformContext, before: ProjectRow, input: UpdateProjectInput): ProjectUpdate {
  const { name, settings, defaultEndpointSettings, historyRetentionSeconds } = input;
  return {
    name: name === undefined ? before.name : checkName('project.name', name),
    settings: settings === undefined ? before.settings : checkProjectSettings({ ...before.settings, ...settings }),
    defaultEndpointSettings:
      defaultEndpointSettings === undefined
        ? before.defaultEndpointSettings
        : checkDefaultEndpointSettings(
            context,
            { ...before.defaultEndpointSettings, ...defaultEndpointSettings },
            before.pgVersion,
          ),
    historyRetentionSeconds:
      historyRetentionSeconds === undefined
        ? before.historyRetentionSeconds
        : checkHistoryRetention(historyRetentionSeconds),
  };
}

async function change(
  { settings: { domain } }: PlatformContext,
  command: Command,
  before: ProjectRow,
  wanted: ProjectUpdate,
): Promise<void> {
  const { id: projectId, name, settings, defaultEndpointSettings, historyRetentionSeconds } = before;
  if (isDeepStrictEqual(wanted, { name, settings, defaultEndpointSettings, historyRetentionSeconds })) return;
  await updateProjectRow(command.tx, projectId, wanted);
  if (wanted.historyRetentionSeconds !== historyRetentionSeconds) {
    await command.enqueue(applyHistoryRetention, { projectId }, { projectId });
  }
  const endpoints = await listEndpointRows(command.tx, { projectId }, domain);
  if (!isDeepStrictEqual(wanted.settings.allowedIps, settings.allowedIps)) {
    command.changeDirectory(endpoints.map((endpoint) => endpoint.id));
  }
  const isTimeoutChanged =
    wanted.defaultEndpointSettings.suspendTimeoutSeconds !== defaultEndpointSettings.suspendTimeoutSeconds;
  // Other defaults are for endpoints to come; these follow the project's timeout.
  const following = isTimeoutChanged ? endpoints.filter((endpoint) => endpoint.suspendTimeoutSeconds === 0) : [];
  await raiseGeneration(
    command.tx,
    following.map((endpoint) => endpoint.id),
  );
  for (const { id: endpointId, branchId } of following) {
    await command.enqueue(applyEndpointSpec, { endpointId }, { projectId, branchId, endpointId });
  }
}
