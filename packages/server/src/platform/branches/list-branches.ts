import { parseCursor, toPage } from '../cursor.ts';
import { unreachable } from '../../kernel/assert.ts';
import type { PlatformContext } from '../context.ts';
import type { Branch, Branches, Page, Principal } from '../platform.ts';
import { getProjectAccess } from '../projects/project-access.ts';
import { listBranchRows, type BranchRow } from './branch-rows.ts';
import { withUsage } from './with-usage.ts';

type BranchPageRequest = Parameters<Branches['list']>[2];
type SortKey = NonNullable<BranchPageRequest['sortBy']>;

/** By `updated_at`, newest first, unless told. Sorted here, since names must sort as people and not as bytes do. */
export async function listBranches(
  context: PlatformContext,
  principal: Principal,
  projectId: string,
  { limit, cursor, search, sortBy = 'updated_at', sortOrder = 'desc', includeDeleted = false }: BranchPageRequest,
): Promise<Page<Branch>> {
  await getProjectAccess(context.metadata, principal, projectId);
  const direction = sortOrder === 'asc' ? 1 : -1;
  const compare = (a: readonly string[], b: readonly string[]): number => direction * compareKeys(a, b);
  const after = cursor === undefined ? undefined : parseCursor(cursor, 2);
  const rows = (await listBranchRows(context.metadata, projectId, { includeDeleted }))
    .filter((row) => search === undefined || matches(row, search))
    .filter((row) => after === undefined || compare(keysOf(row, sortBy), after) > 0)
    .sort((a, b) => compare(keysOf(a, sortBy), keysOf(b, sortBy)))
    .slice(0, limit + 1);
  const page = toPage(rows, limit, { keys: (row) => keysOf(row, sortBy), toItem: (row) => row });
  return { ...page, items: await withUsage(context, page.items) };
}

const matches = ({ id, name }: BranchRow, search: string): boolean =>
  id === search || name.toLowerCase().includes(search.toLowerCase());

/** The id makes the order total. */
function keysOf(row: BranchRow, sortBy: SortKey): readonly [string, string] {
  switch (sortBy) {
    case 'name':
      return [row.name, row.id];
    case 'created_at':
      return [row.createdAt.toISOString(), row.id];
    case 'updated_at':
      return [row.updatedAt.toISOString(), row.id];
    default:
      return unreachable(sortBy);
  }
}

function compareKeys([a = '', aId = '']: readonly string[], [b = '', bId = '']: readonly string[]): number {
  return a.localeCompare(b, 'en') || compareText(a, b) || compareText(aId, bId);
}

const compareText = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);
