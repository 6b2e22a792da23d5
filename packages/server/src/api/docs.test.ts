import { readFileSync } from 'node:fs';
import { ERROR_CODES, type ErrorKind } from '@tenantry/contract/error-codes.ts';
import type { RouteDefinition } from '@tenantry/contract/route.ts';
import { ROUTES } from '@tenantry/contract/routes.ts';
import { expect, test } from 'vitest';
import { STATUS_OF_KIND } from './error-response.ts';
import type { SchemaFacts } from './request-validation.ts';
import { createTestApi } from './testing/test-api.ts';

const ROUTE_LIST: readonly RouteDefinition[] = Object.values(ROUTES);

/** Cells of those table rows whose first cell is code that matches. */
function rowsOf(file: string, first: RegExp): string[][] {
  const text = readFileSync(new URL(`../../../../docs/${file}`, import.meta.url), 'utf8');
  const rows = text.split('\n').filter((line) => line.startsWith('| `'));
  const cells = rows.map((row) =>
    row
      .slice(2, -2)
      .split(' | ')
      .map((cell) => cell.replaceAll('`', '')),
  );
  return cells.filter(([cell = '']) => first.test(cell));
}

test('docs/errors.md lists every error code as it is, and no other', () => {
  const known = Object.entries<{ kind: ErrorKind; retryable: boolean; docs: string }>(ERROR_CODES).map(
    ([code, { kind, retryable, docs }]) => [
      code,
      String(STATUS_OF_KIND[kind]),
      kind,
      retryable ? 'yes' : 'no',
      docs.replaceAll('`', ''),
    ],
  );
  expect(rowsOf('errors.md', /^[A-Z_]+$/)).toEqual(known);
});

test('docs/api.md lists every route as it is, and no other', () => {
  const known = Object.entries<RouteDefinition>(ROUTES).map(([name, { method, path, status, summary }]) => [
    `${method} ${path}`,
    name,
    String(status),
    summary,
  ]);
  const isPlain = ([route = '']: string[]) => /^\w+ \/(healthz|metrics|status.*|api\/v2\/openapi\.json)?$/.test(route);
  const documented = rowsOf('api.md', /^[A-Z]+ \//);
  expect(documented.filter((row) => !isPlain(row))).toEqual(known);
  expect(documented.filter(isPlain).map(([route]) => route)).toEqual([
    'GET /',
    'GET /healthz',
    'GET /metrics',
    'GET /status',
    'GET /status/endpoints/{endpoint_id}',
    'GET /status/storage',
    'POST /status/storage/grow',
    'GET /api/v2/openapi.json',
  ]);
});

test('docs/api.md lists every field that is refused, with the reason that clients are told', () => {
  const known = new Map<string, string>();
  const visit = (schema: SchemaFacts | undefined, prefix: string): void => {
    for (const [name, field] of Object.entries(schema?.properties ?? {})) {
      if (field['x-takes'] !== undefined) known.set(`${prefix}${name}`, field['x-takes']);
      visit(field, `${prefix}${name}.`);
    }
    for (const [name, why] of Object.entries(schema?.['x-unsupported'] ?? {})) known.set(`${prefix}${name}`, why);
  };
  for (const { body, query } of ROUTE_LIST) {
    visit(body, '');
    visit(query, '?');
  }
  expect(rowsOf('api.md', /^(\?|project\.|branch\.|endpoint\.)/)).toEqual([...known]);
});

test('our OpenAPI document describes the live routes, needs no key, and has no loose references', async () => {
  const { server } = createTestApi();
  const response = await server.app.inject('/api/v2/openapi.json');
  expect(response.statusCode).toBe(200);
  const document = response.json<{
    openapi: string;
    paths: Record<string, Record<string, { operationId: string; responses: Record<string, unknown> }>>;
    components: { schemas: Record<string, unknown>; securitySchemes: object };
    security: object[];
  }>();
  expect(document.openapi).toBe('3.1.0');
  expect(document.security).toEqual([{ bearer: [] }]);
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId, responses }]) => ({
      route: `${method.toUpperCase()} ${path} ${operationId}`,
      statuses: Object.keys(responses),
    })),
  );
  expect(operations.map(({ route }) => route).sort()).toEqual(
    Object.entries<RouteDefinition>(ROUTES)
      .map(([name, { method, path }]) => `${method} ${path} ${name}`)
      .sort(),
  );
  for (const { route, statuses } of operations) expect(statuses, route).toEqual([expect.any(String), 'default']);
  const references = [...response.body.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(
    ([, name = '']) => name,
  );
  expect(references).toEqual(expect.arrayContaining(['Error', 'Project', 'Operation']));
  expect(Object.keys(document.components.schemas)).toEqual(expect.arrayContaining([...new Set(references)]));
});
