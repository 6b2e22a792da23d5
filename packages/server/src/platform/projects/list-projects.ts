import { chooseOrganization } from '../accounts/choose-organization.ts';
import { isPlainText } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { Page, Principal, Project, Projects } from '../platform.ts';
import { withUsage } from './get-project.ts';
import { pageOfProjectRows } from './project-rows.ts';

/** Of one organization, newest first. @throws PlatformError INVALID_REQUEST if it must be named and is not */
export async function listProjects(
  context: PlatformContext,
  principal: Principal,
  { limit, cursor, search, organizationId }: Parameters<Projects['list']>[1],
): Promise<Page<Project>> {
  const organization = chooseOrganization(principal, organizationId);
  if (search !== undefined && !isPlainText(search)) return { items: [] };
  const page = await pageOfProjectRows(
    context.metadata,
    {
      organizationId: organization,
      search,
      projectId: principal.kind === 'project' ? principal.projectId : undefined,
    },
    { limit, ...(cursor === undefined ? {} : { cursor }) },
  );
  return { ...page, items: await withUsage(context, page.items) };
}
