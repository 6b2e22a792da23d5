import { defined } from '../defined.ts';
import type { Page, PageRequest } from '../../platform/platform.ts';

/**
 * Cursor behind the last item. Neon's CLI takes a full page without a cursor for a reason to ask for the first page
 * again, so a last page that is full gets this one.
 */
const END_CURSOR = 'end';

export const isEnd = (query: { readonly cursor?: string }): boolean => query.cursor === END_CURSOR;

export const emptyPage: Page<never> = { items: [] };

/** The page as the platform takes it. */
export const toPageRequest = (
  query: { readonly cursor?: string; readonly limit?: number },
  limitDefault: number,
): PageRequest => ({ limit: query.limit ?? limitDefault, ...defined({ cursor: query.cursor }) });

/** `pagination` of a list that is not sorted by the client; absent where nothing follows. */
export function presentPagination(page: Page<unknown>, limit: number): { pagination?: { cursor: string } } {
  const cursor = page.nextCursor ?? (page.items.length === limit ? END_CURSOR : undefined);
  return cursor === undefined ? {} : { pagination: { cursor } };
}
