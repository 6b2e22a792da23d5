import type { RouteDefinition } from '@tenantry/contract/route.ts';
import { ROUTES } from '@tenantry/contract/routes.ts';
import { describe, expect, test } from 'vitest';
import type { SchemaFacts } from './request-validation.ts';
import { NeonOpenApi } from './testing/neon-openapi.ts';

const neon = new NeonOpenApi();
const routes = Object.entries<RouteDefinition>(ROUTES);

/** Fields that Neon's guides show and its description lacks, and what is ours. */
const OWN_FIELDS: Readonly<Record<string, readonly string[]>> = {
  createSnapshot: ['lsn', 'timestamp', 'name', 'expires_at'],
  updateSnapshot: ['snapshot.expires_at'],
};

describe.each(routes)('%s', (name, { method, path, status, query, body }) => {
  test('is a route of Neon, with this status and operation id', () => {
    expect(neon.hasRoute(method, path, status), `${method} ${path} ${status}`).toBe(true);
    expect(neon.operationId(method, path)).toBe(name);
  });

  test('knows every query parameter of Neon', () => {
    expect(Object.keys(query.properties)).toEqual(expect.arrayContaining(neon.queryParameters(method, path)));
  });

  test('takes or refuses by name every field of Neon, and has none of its own', () => {
    const { taken, refused } = fieldsOf(body);
    const known = neon.bodyFields(method, path);
    const own = new Set(OWN_FIELDS[name]);
    const isBelowRefused = (field: string) => refused.some((prefix) => field.startsWith(`${prefix}.`));
    expect([...taken, ...refused].filter((field) => !own.has(field)).sort()).toEqual(
      known.filter((field) => !isBelowRefused(field)).sort(),
    );
  });
});

test('the reader sees the whole file', () => {
  expect(neon.bodyFields('POST', '/projects')).toContain('project.settings.maintenance_window.start_time');
  expect(neon.queryParameters('GET', '/projects/{project_id}/branches')).toEqual([
    'search',
    'sort_by',
    'cursor',
    'sort_order',
    'limit',
    'include_deleted',
  ]);
  expect(neon.violations('GET', '/projects/{project_id}/connection_uri', 200, {})).toEqual(['.uri: missing']);
  expect(neon.violations('GET', '/users/me/organizations', 200, { organizations: [{ id: 3 }] })).toContain(
    '.organizations[0].id: not string',
  );
});

function fieldsOf(schema: SchemaFacts = {}, prefix = ''): { taken: string[]; refused: string[] } {
  const { properties = {}, 'x-unsupported': unsupported = {} } = schema;
  const taken: string[] = [];
  const refused = Object.keys(unsupported).map((name) => `${prefix}${name}`);
  for (const [name, field] of Object.entries(properties)) {
    const inner = fieldsOf(field, `${prefix}${name}.`);
    taken.push(`${prefix}${name}`, ...inner.taken);
    refused.push(...inner.refused);
  }
  return { taken, refused };
}
