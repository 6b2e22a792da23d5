import { choice, responseObject, Type } from './schema.ts';

export const PAGE_LIMIT_DEFAULT = 10;
export const BRANCHES_PAGE_LIMIT_DEFAULT = 100;

const cursor = Type.String({
  minLength: 1,
  maxLength: 500,
  pattern: '^[\\x21-\\x7e]*$',
  description: 'From the page before.',
});

export const pageQuery = (limitMax: number, limitDefault: number) => ({
  cursor: Type.Optional(cursor),
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: limitMax, default: limitDefault, description: 'Items in a page.' }),
  ),
});

export const sortQuery = {
  sort_by: Type.Optional(choice(['name', 'created_at', 'updated_at'], 'By default updated_at.')),
  sort_order: Type.Optional(choice(['asc', 'desc'], 'By default desc.')),
};

/** Absent on the last page. */
export const pagination = Type.Optional(
  responseObject('Pagination', { cursor: Type.String({ description: 'Give it back to get the next page.' }) }),
);

/** As lists that can be sorted have it; `next` is absent on the last page. */
export const sortedPagination = Type.Optional(
  responseObject('SortedPagination', {
    next: Type.Optional(Type.String({ description: 'Give it back as cursor to get the next page.' })),
    sort_by: Type.String(),
    sort_order: Type.String(),
  }),
);
