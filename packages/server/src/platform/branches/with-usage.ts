import type { PlatformDeps } from '../context.ts';
import type { Branch } from '../platform.ts';
import { billingPeriodOf } from '../usage/billing-period.ts';
import { listUsage, noUsage } from '../usage/usage-rows.ts';
import type { BranchRow } from './branch-rows.ts';

/** The branches with what each has used in this billing period. */
export async function withUsage(
  { metadata, now }: Pick<PlatformDeps, 'metadata' | 'now'>,
  rows: readonly BranchRow[],
): Promise<readonly Branch[]> {
  const period = billingPeriodOf(now());
  const ids = rows.map((row) => row.id);
  const usage = await listUsage(metadata, 'branch_id', ids, period);
  return rows.map((row) => ({ ...row, usage: usage.get(row.id) ?? noUsage(period) }));
}
