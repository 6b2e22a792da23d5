import { API_PREFIX, type RouteName } from '@tenantry/contract/routes.ts';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { TSchema } from 'typebox';
import { PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { authenticate } from './authenticate.ts';
import { bindRoutes } from './bind-routes.ts';
import { toErrorResponse } from './error-response.ts';
import type { HandlerContext, Handlers } from './handlers.ts';
import { serveOpenApi } from './openapi.ts';
import { servePlainRoutes, type PlainRoutesOptions } from './plain-routes.ts';
import { RateLimit, type RateLimitOptions } from './rate-limit.ts';
import { readBodies } from './read-body.ts';
import { requestIdHeaders, requestIdOf } from './request-id.ts';
import { compileValidator } from './request-validation.ts';
import { accountRoutes } from './routes/account-routes.ts';
import { branchRoutes } from './routes/branch-routes.ts';
import { databaseRoutes } from './routes/database-routes.ts';
import { endpointRoutes } from './routes/endpoint-routes.ts';
import { operationRoutes } from './routes/operation-routes.ts';
import { projectRoutes } from './routes/project-routes.ts';
import { restoreRoutes } from './routes/restore-routes.ts';
import { roleRoutes } from './routes/role-routes.ts';
import { schemaRoutes } from './routes/schema-routes.ts';
import { snapshotRoutes } from './routes/snapshot-routes.ts';
import { answerUnreadable } from './unreadable-request.ts';

export interface ApiServerOptions extends PlainRoutesOptions {
  readonly config: {
    readonly listenAddress: string;
    /** 0: any free port. */
    readonly apiPort: number;
    /** Where projects can be, the default first; empty: any well-formed id is accepted. */
    readonly regions: readonly string[];
    /** Host name of the gateway, shown as `proxy_host`. */
    readonly domain: string;
  };
  readonly log: Log;
  /** Undefined: no limit. */
  readonly rateLimit?: RateLimitOptions | undefined;
  /** Called after each answer, for metrics. Must not throw. */
  readonly onAnswer?: (answer: ApiAnswer) => void;
  /** Longest that a handler may take; clients give up after 60 seconds. */
  readonly answerDeadlineMs?: number;
}

/** One answer, with nothing in it that grows without bound as a metric's label. */
export interface ApiAnswer {
  readonly operationId: RouteName | 'other';
  readonly method: string;
  readonly status: number;
  readonly durationMs: number;
}

export interface ApiServer {
  /** For tests: `app.inject()`. */
  readonly app: FastifyInstance;
  /** Resolves once it accepts connections, with the port that it got. */
  listen(): Promise<{ readonly port: number }>;
  /** Ends: no new requests, running ones get some seconds to finish. */
  close(): Promise<void>;
}

const URL_LENGTH_MAX = 4096;
const BODY_BYTES_MAX = 1024 * 1024;
const HEADERS_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
const CONNECTIONS_MAX = 10_000;
const CLOSE_DEADLINE_MS = 10_000;
const ANSWER_DEADLINE_MS = 55_000;
const FORGET_QUIET_KEYS_EVERY_MS = 60_000;

/** The management API and what is served beside it, on one port. */
export function createApiServer(options: ApiServerOptions): ApiServer {
  const { config, log } = options;
  let isClosing = false;
  const app = createFastify();
  app.server.headersTimeout = HEADERS_TIMEOUT_MS;
  app.server.maxConnections = CONNECTIONS_MAX;
  app.setValidatorCompiler<TSchema>(({ schema, httpPart }) => compileValidator(schema, partOf(httpPart)));
  readBodies(app);
  app.decorateRequest('principal', null);
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(requestIdHeaders(request.id));
    if (isClosing) throw new PlatformError('SHUTTING_DOWN', 'Cannot answer: this process is stopping');
    if (request.url.length > URL_LENGTH_MAX) {
      throw new PlatformError(
        'INVALID_REQUEST',
        `Cannot read the request: its URL is longer than ${URL_LENGTH_MAX} bytes`,
      );
    }
  });
  app.addHook('onSend', async (_request, reply) => {
    // Idle connections are closed when closing begins; those that were busy then end with their answer.
    if (isClosing) reply.header('connection', 'close');
  });
  app.addHook('onResponse', async (request, reply) => report(options, request, reply));
  app.setErrorHandler(async (error, request, reply) => sendError(log, error, request, reply));
  app.setNotFoundHandler(refuseRoute);
  serveOpenApi(app, options.version);
  servePlainRoutes(app, options);
  void app.register(async (api) => serveApi(api, options), { prefix: API_PREFIX });

  return {
    app,
    listen: async () => {
      await app.listen({ host: config.listenAddress, port: config.apiPort });
      const address = app.server.address();
      return { port: typeof address === 'object' && address ? address.port : config.apiPort };
    },
    close: async () => {
      isClosing = true;
      const timer = setTimeout(() => app.server.closeAllConnections(), CLOSE_DEADLINE_MS);
      await app.close();
      clearTimeout(timer);
    },
  };

  function createFastify(): FastifyInstance {
    return Fastify({
      bodyLimit: BODY_BYTES_MAX,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      forceCloseConnections: 'idle',
      return503OnClosing: false,
      routerOptions: { maxParamLength: URL_LENGTH_MAX },
      genReqId: (request) => requestIdOf(request.headers),
      frameworkErrors: (error, request, reply) => {
        reply.headers(requestIdHeaders(request.id));
        void sendError(log, error, request, reply);
      },
      clientErrorHandler: answerUnreadable,
    });
  }
}

const partOf = (httpPart: string | undefined) =>
  httpPart === 'body' || httpPart === 'params' ? httpPart : 'querystring';

/** All below `/api/v2`: authenticated, then validated, then handled. */
function serveApi(api: FastifyInstance, options: ApiServerOptions): void {
  const { platform, config, rateLimit } = options;
  const limit = rateLimit && new RateLimit(rateLimit);
  if (limit) {
    const timer = setInterval(() => limit.forgetQuiet(), FORGET_QUIET_KEYS_EVERY_MS).unref();
    api.addHook('onClose', async () => clearInterval(timer));
  }
  api.addHook('onRequest', async (request) => {
    request.principal = await authenticate(platform, request);
    limit?.take(request.principal.apiKeyId);
  });
  api.setNotFoundHandler(refuseRoute);
  const context: HandlerContext = { platform, regions: config.regions, domain: config.domain };
  bindRoutes(api, createHandlers(context), options.answerDeadlineMs ?? ANSWER_DEADLINE_MS);
}

const createHandlers = (context: HandlerContext): Handlers => ({
  ...projectRoutes(context),
  ...branchRoutes(context),
  ...endpointRoutes(context),
  ...roleRoutes(context),
  ...databaseRoutes(context),
  ...operationRoutes(context),
  ...restoreRoutes(context),
  ...schemaRoutes(context),
  ...snapshotRoutes(context),
  ...accountRoutes(context),
});

async function refuseRoute(request: FastifyRequest): Promise<never> {
  const path = request.url.split('?', 1)[0]?.slice(0, 200);
  throw new PlatformError('ROUTE_NOT_FOUND', `Cannot find a route for ${request.method} ${path}`);
}

async function sendError(log: Log, error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { conflictStatus } = request.routeOptions.config;
  const { status, headers, body } = toErrorResponse(error, request.id, conflictStatus);
  if (status >= 500) {
    const facts = { err: error, request_id: request.id, method: request.method, route: request.routeOptions.url };
    if (status === 500) log.error(facts, 'request failed');
    else log.warn({ ...facts, code: body.code }, 'request not served');
  }
  await reply.status(status).headers(headers).send(body);
}

function report(options: ApiServerOptions, request: FastifyRequest, reply: FastifyReply): void {
  const { operationId = 'other' } = request.routeOptions.config;
  const { method } = request;
  const { statusCode: status, elapsedTime: durationMs } = reply;
  options.onAnswer?.({ operationId, method, status, durationMs });
  options.log.debug(
    {
      request_id: request.id,
      api_key_id: request.principal?.apiKeyId,
      operation: operationId,
      method,
      status,
      durationMs,
    },
    'request answered',
  );
}
