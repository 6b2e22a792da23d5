import { pino } from 'pino';
import { createApiServer, type ApiServer, type ApiServerOptions } from '../create-api-server.ts';
import { MemoryPlatform, TEST_KEY } from './memory-platform.ts';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  /** Parsed JSON. Tests read it freely. */
  readonly body: Record<string, never>;
}

export interface TestApi {
  readonly server: ApiServer;
  readonly platform: MemoryPlatform;
  /** The log, one parsed line each. */
  readonly logged: Record<string, unknown>[];
  /** Calls a route below /api/v2 with the key. */
  call(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<Answer>;
}

/** The API, called without a socket, over a platform in memory unless one is given. */
export function createTestApi(options: Partial<ApiServerOptions> = {}, key = TEST_KEY): TestApi {
  const platform = new MemoryPlatform();
  const logged: Record<string, unknown>[] = [];
  const write = (line: string): void => {
    logged.push(JSON.parse(line) as Record<string, unknown>);
  };
  const server = createApiServer({
    platform,
    config: { listenAddress: '127.0.0.1', apiPort: 0, regions: [], domain: 'localhost' },
    log: pino({ level: 'debug' }, { write }),
    health: async () => ({ ok: true, parts: { host: 'ok' } }),
    isOperatorKey: () => false,
    status: async () => ({ version: '0.0.0' }),
    storage: async () => ({}),
    growStorage: async () => ({}),
    findEndpoint: async () => undefined,
    metricsText: async () => 'tenantry_up 1\n',
    version: '0.0.0',
    ...options,
  });
  return {
    server,
    platform,
    logged,
    call: async (method, path, body) => {
      const response = await server.app.inject({
        method,
        url: `/api/v2${path}`,
        headers: { authorization: `Bearer ${key}` },
        ...(body !== undefined && { payload: body as object }),
      });
      return { status: response.statusCode, headers: response.headers, body: response.json() };
    },
  };
}
