import { requestObject, text, Type, only, choice } from '@tenantry/contract/schema.ts';
import { expect, test } from 'vitest';
import { compileValidator } from './request-validation.ts';

const schema = requestObject({
  project: requestObject(
    {
      name: Type.Optional(text(1, 5, 'Name.')),
      size: Type.Optional(Type.Number({ minimum: 0.25 })),
      mode: Type.Optional(choice(['a', 'b'], 'Mode.')),
      hipaa: Type.Optional(only(false, 'there is none')),
      list: Type.Optional(Type.Array(Type.Integer({ minimum: 1, maximum: 7 }), { maxItems: 2 })),
      settings: Type.Optional(Type.Record(Type.String(), Type.String())),
      'a/b': Type.Optional(Type.Boolean()),
    },
    { audit: 'there is no audit log' },
  ),
});
const query = requestObject({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 400 })),
  pooled: Type.Optional(Type.Boolean()),
  needed: Type.String(),
});

const refusalOf = (part: 'body' | 'querystring' | 'params', value: unknown): string => {
  const result = compileValidator(part === 'body' ? schema : query, part)(value);
  return 'error' in result ? result.error.message : 'accepted';
};

test.each<[unknown, string]>([
  [{ project: {} }, 'accepted'],
  [{}, 'Cannot accept the request: project is missing'],
  [null, 'Cannot accept the request: project is missing'],
  [[], 'Cannot accept the body: it takes an object'],
  ['x', 'Cannot accept the body: it takes an object'],
  [{ project: null }, 'Cannot accept project: it takes an object'],
  [{ project: {}, x: 1 }, 'Cannot accept x: it is not one of project'],
  [
    { project: Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`k${index}`, 1])) },
    'Cannot accept project.k0: it is not one of name, ',
  ],
  [{ project: { audit: 1 } }, 'Cannot accept project.audit: there is no audit log'],
  [{ project: { toString: 1 } }, /^Cannot accept project\.toString: it is not one of name, /.source],
  [
    { project: { name: '' } },
    'Cannot accept project.name: it takes text of 1 to 5 characters without control characters',
  ],
  [
    { project: { name: 'a\u0000' } },
    'Cannot accept project.name: it takes text of 1 to 5 characters without control characters',
  ],
  [{ project: { size: '1' } }, 'Cannot accept project.size: it takes a number from 0.25 on'],
  [{ project: { mode: 'c' } }, 'Cannot accept project.mode: it takes one of a, b'],
  [{ project: { hipaa: true } }, 'Cannot accept project.hipaa: it takes only false: there is none'],
  [{ project: { list: [1, 2, 3] } }, 'Cannot accept project.list: it takes a list of at most 2 items'],
  [{ project: { list: [1, 8] } }, 'Cannot accept project.list.1: it takes a whole number from 1 to 7'],
  [{ project: { settings: { a: 1 } } }, 'Cannot accept project.settings.a: it takes text'],
  [{ project: { 'a/b': 1 } }, 'Cannot accept project.a/b: it takes true or false'],
])('a body %j: %s', (value, expected) => {
  expect(refusalOf('body', value)).toMatch(expected.startsWith('^') ? new RegExp(expected) : expected);
});

test.each<[Record<string, unknown>, string]>([
  [{ needed: 'x' }, 'accepted'],
  [{}, 'Cannot accept the request: the query parameter needed is missing'],
  [{ needed: ['x', 'y'] }, 'Cannot accept the query parameter needed: it takes text'],
  [{ needed: 'x', limit: '0' }, 'Cannot accept the query parameter limit: it takes a whole number from 1 to 400'],
  [{ needed: 'x', limit: '1e2' }, 'Cannot accept the query parameter limit: it takes a whole number from 1 to 400'],
  [{ needed: 'x', limit: '' }, 'Cannot accept the query parameter limit: it takes a whole number from 1 to 400'],
  [{ needed: 'x', pooled: 'yes' }, 'Cannot accept the query parameter pooled: it takes true or false'],
  [{ needed: 'x', extra: '1' }, 'Cannot accept the query parameter extra: it is not one of limit, pooled, needed'],
])('a query %j: %s', (value, expected) => {
  expect(refusalOf('querystring', value)).toBe(expected);
});

test('texts of a query become what the schema asks for, those of a body do not', () => {
  expect(compileValidator(query, 'querystring')({ needed: '7', limit: '7', pooled: 'true' })).toEqual({
    value: { needed: '7', limit: 7, pooled: true },
  });
});
