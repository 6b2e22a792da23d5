import { isEndpointId } from '@tenantry/contract/ids.ts';
import { API_PREFIX } from '@tenantry/contract/routes.ts';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { PlatformError } from '../kernel/errors.ts';
import { withDeadline } from '../kernel/wait.ts';
import type { Platform } from '../platform/platform.ts';
import { authenticate, bearerKey } from './authenticate.ts';

/** Do all parts serve? `parts` says for each how it is. */
export interface Health {
  readonly ok: boolean;
  readonly parts: Readonly<Record<string, string>>;
}

export interface PlainRoutesOptions {
  readonly platform: Platform;
  readonly health: () => Promise<Health>;
  /** Is this the key that the installation was started with? Asks nobody. */
  readonly isOperatorKey: (key: string) => boolean;
  /** Processes, counts and the host, for `tenantry status` and `tenantry doctor`. */
  readonly status: () => Promise<object>;
  /** Space of the storage, and of the volumes of all projects or of one, for `tenantry storage`. */
  readonly storage: (projectId: string | undefined) => Promise<object>;
  /** Grows the storage pool now, and bounds it from now on; null: no bound. */
  readonly growStorage: (bytesMax: number | null) => Promise<object>;
  /** Whose endpoint it is, for commands that are given no project. */
  readonly findEndpoint: (endpointId: string) => Promise<{ readonly projectId: string } | undefined>;
  /** In the Prometheus text format. */
  readonly metricsText: () => Promise<string>;
  readonly version: string;
}

const HEALTH_DEADLINE_MS = 5_000;
const METRICS_DEADLINE_MS = 10_000;
const STATUS_DEADLINE_MS = 20_000;
/** Volumes are measured file by file. */
const STORAGE_DEADLINE_MS = 50_000;

/** What is served beside the API: the start page, health, metrics, and what the command line asks. */
export function servePlainRoutes(app: FastifyInstance, options: PlainRoutesOptions): void {
  const hidden = { schema: { hide: true } };

  app.get('/', hidden, async () => ({
    name: 'Tenantry',
    version: options.version,
    what: 'A Postgres database for every tenant, asleep until it is needed',
    api: API_PREFIX,
    openapi: `${API_PREFIX}/openapi.json`,
    health: '/healthz',
    docs: 'README.md and docs/ of the Tenantry checkout',
  }));

  app.get('/healthz', hidden, async (_request, reply) => {
    const health = await withDeadline('ask all parts', HEALTH_DEADLINE_MS, options.health);
    return reply.status(health.ok ? 200 : 503).send({ ...health, version: options.version });
  });

  app.get('/status', hidden, async (request, reply) => {
    await requireUserKey(options, request);
    return reply.send(await withDeadline('ask all parts', STATUS_DEADLINE_MS, options.status));
  });

  app.get('/status/endpoints/:endpointId', hidden, async (request, reply) => {
    await requireUserKey(options, request);
    const { endpointId } = request.params as { readonly endpointId: string };
    const found = isEndpointId(endpointId)
      ? await withDeadline('find the endpoint', STATUS_DEADLINE_MS, () => options.findEndpoint(endpointId))
      : undefined;
    if (!found) throw new PlatformError('NOT_FOUND', 'Cannot find the endpoint: it does not exist');
    return reply.send({ endpoint_id: endpointId, project_id: found.projectId });
  });

  app.get('/status/storage', hidden, async (request, reply) => {
    await requireUserKey(options, request);
    const { project_id: projectId } = request.query as { readonly project_id?: unknown };
    const read = () => options.storage(typeof projectId === 'string' ? projectId : undefined);
    return reply.send(await withDeadline('measure the volumes', STORAGE_DEADLINE_MS, read));
  });

  app.post('/status/storage/grow', hidden, async (request, reply) => {
    await requireUserKey(options, request);
    const { bytes_max: given } = request.query as { readonly bytes_max?: unknown };
    const isSize = typeof given === 'string' && /^\d{1,15}$/.test(given);
    if (given !== undefined && !isSize) {
      throw new PlatformError('INVALID_REQUEST', 'Cannot grow the storage: bytes_max takes a whole number of bytes');
    }
    const grow = () => options.growStorage(isSize ? Number(given) : null);
    return reply.send(await withDeadline('grow the storage', STORAGE_DEADLINE_MS, grow));
  });

  app.get('/metrics', hidden, async (request, reply) => {
    if (!isDirectFromThisMachine(request)) await requireUserKey(options, request);
    const text = await withDeadline('collect the metrics', METRICS_DEADLINE_MS, options.metricsText);
    return reply.type('text/plain; version=0.0.4; charset=utf-8').send(text);
  });
}

/** A reverse proxy on this machine connects from loopback too, but says so in a header. */
function isDirectFromThisMachine(request: FastifyRequest): boolean {
  const address = request.socket.remoteAddress ?? '';
  const isLoopback = address === '::1' || /^(::ffff:)?127\./.test(address);
  const { forwarded, via, 'x-forwarded-for': forwardedFor } = request.headers;
  return isLoopback && forwarded === undefined && via === undefined && forwardedFor === undefined;
}

async function requireUserKey({ platform, isOperatorKey }: PlainRoutesOptions, request: FastifyRequest): Promise<void> {
  // What is wrong must be seen without the metadata database, which is what may be wrong.
  const key = bearerKey(request);
  if (key !== undefined && isOperatorKey(key)) return;
  const principal = await authenticate(platform, request);
  if (principal.kind !== 'user') {
    throw new PlatformError('FORBIDDEN', 'Cannot show this: it takes the key of the operator');
  }
}
