import { must } from '../../kernel/assert.ts';
import { notFound } from '../checks.ts';
import type { PlatformContext, PlatformDeps } from '../context.ts';
import type { Principal, Project } from '../platform.ts';
import { billingPeriodOf } from '../usage/billing-period.ts';
import { listUsage, noUsage } from '../usage/usage-rows.ts';
import { getProjectAccess } from './project-access.ts';
import { findProjectRow, type ProjectRow } from './project-rows.ts';

/** @throws PlatformError NOT_FOUND */
export async function getProject(context: PlatformContext, principal: Principal, projectId: string): Promise<Project> {
  await getProjectAccess(context.metadata, principal, projectId);
  const row = await findProjectRow(context.metadata, projectId);
  if (!row) throw notFound('project', projectId);
  const [project] = await withUsage(context, [row]);
  return must(project, 'as many projects as rows');
}

/** The projects with what each has used in this billing period. */
export async function withUsage(
  { metadata, now }: Pick<PlatformDeps, 'metadata' | 'now'>,
  rows: readonly ProjectRow[],
): Promise<readonly Project[]> {
  const period = billingPeriodOf(now());
  const ids = rows.map((row) => row.id);
  const usage = await listUsage(metadata, 'project_id', ids, period);
  return rows.map((row) => ({ ...row, usage: usage.get(row.id) ?? noUsage(period) }));
}
