import { ErrorBody } from '@tenantry/contract/error-body.ts';
import type { RouteDefinition } from '@tenantry/contract/route.ts';
import { requestObject } from '@tenantry/contract/schema.ts';
import { ROUTES, type RouteName } from '@tenantry/contract/routes.ts';
import type { FastifyInstance } from 'fastify';
import { must } from '../kernel/assert.ts';
import { withDeadline } from '../kernel/wait.ts';
import type { Handlers } from './handlers.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route of the contract; undefined for pages beside the API. */
    operationId?: RouteName;
    /** Status of errors of kind `conflict`. */
    conflictStatus?: number;
  }
}

const NO_BODY = requestObject({});

/** Registers every route of the contract with its handler. */
export function bindRoutes(app: FastifyInstance, handlers: Handlers, answerDeadlineMs: number): void {
  for (const name of Object.keys(ROUTES) as RouteName[]) bindRoute(app, name, handlers[name], answerDeadlineMs);
}

function bindRoute(
  app: FastifyInstance,
  name: RouteName,
  handler: (request: never) => Promise<unknown>,
  answerDeadlineMs: number,
): void {
  const route: RouteDefinition = ROUTES[name];
  app.route({
    method: route.method,
    url: route.path.replaceAll(/\{(\w+)\}/g, ':$1'),
    schema: {
      operationId: name,
      summary: route.summary,
      tags: [route.tag],
      params: route.params,
      querystring: route.query,
      ...(route.method !== 'GET' && { body: route.body ?? NO_BODY }),
      response: { [route.status]: { description: 'Done', ...route.response }, default: ERROR_RESPONSE },
    },
    config: { operationId: name, ...(route.conflictStatus && { conflictStatus: route.conflictStatus }) },
    handler: async (request, reply) => {
      const { params, query, body } = request;
      // `Handlers` pairs each handler with its route, and the route's validators have checked the three parts.
      const checked = { principal: must(request.principal), params, query, body } as never;
      const answer = await withDeadline('answer the request', answerDeadlineMs, () => handler(checked));
      return reply.status(route.status).send(answer);
    },
  });
}

const ERROR_RESPONSE = { description: 'Not done', ...ErrorBody };
