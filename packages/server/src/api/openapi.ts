import swagger from '@fastify/swagger';
import { API_PREFIX } from '@tenantry/contract/routes.ts';
import type { FastifyInstance } from 'fastify';

/** Describes all routes that are registered after it, as OpenAPI 3.1, and serves that under `/api/v2/openapi.json`. */
export function serveOpenApi(app: FastifyInstance, version: string): void {
  void app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Tenantry management API',
        description: 'Speaks the management API of Neon. docs/api.md lists the differences.',
        version,
      },
      servers: [{ url: API_PREFIX }],
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
      security: [{ bearer: [] }],
    },
    convertConstToEnum: false,
    transform: ({ schema, url }) => ({ schema: withoutEmptyBody(schema), url }),
    transformObject: (document) =>
      'openapiObject' in document ? nameSchemas(document.openapiObject) : document.swaggerObject,
  });
  let document: string | undefined;
  app.get(`${API_PREFIX}/openapi.json`, { schema: { hide: true } }, async (_request, reply) => {
    document ??= JSON.stringify(app.swagger());
    return reply.type('application/json').send(document);
  });
}

function withoutEmptyBody<T extends { body?: unknown }>(schema: T): T {
  const body = schema.body as { properties?: object } | undefined;
  if (!body || Object.keys(body.properties ?? {}).length > 0) return schema;
  const { body: _, ...rest } = schema;
  return rest as T;
}

/** Moves schemas with a title to the components, so that generated clients get one type for each. */
function nameSchemas<T extends { components?: object }>(document: T): T {
  const schemas: Record<string, unknown> = {};
  const visit = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(visit);
    if (typeof value !== 'object' || value === null) return value;
    const copy = Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, visit(inner)]));
    const title: unknown = copy['title'];
    if (copy['type'] !== 'object' || typeof title !== 'string') return copy;
    schemas[title] = copy;
    return { $ref: `#/components/schemas/${title}` };
  };
  const named = visit(document) as T;
  return { ...named, components: { ...named.components, schemas } };
}
