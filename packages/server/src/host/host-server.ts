import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { messageOf, PlatformError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import type { Host } from './host.ts';
import { isHostMethod, type ErrorBody, type HostMethod } from './host-protocol.ts';

export interface HostServerOptions {
  readonly host: Host;
  readonly socketPath: string;
  readonly log: Log;
}

export interface HostServer {
  /** Ends the streams and takes no more calls; those under way get their answer. */
  close(): Promise<void>;
}

/** A spec with many catalog changes is far smaller. */
const BODY_BYTES_MAX = 16 * 1024 ** 2;

/** How long calls under way may take once the server is closing, and how often it looks for those that ended. */
const CLOSE_MS = 5_000;
const CLOSE_LOOK_MS = 20;

/** Serves a host to the other processes of this machine. Only its own user, and root, may open the socket. */
export async function startHostServer({ host, socketPath, log }: HostServerOptions): Promise<HostServer> {
  const closing = new AbortController();
  const server = createServer((request, response) => {
    const logError = (error: unknown): void =>
      log.error({ err: error instanceof Error ? error : messageOf(error), url: request.url }, 'host call failed');
    void handle({ host, request, response, closing: closing.signal, logError }).catch((error: unknown) => {
      logError(error);
      response.destroy();
    });
  });
  // Waking may take long, and a stream of reports has no end: whoever calls has a deadline.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 60_000;
  rmSync(socketPath, { force: true });
  await listen(server, socketPath);
  return {
    async close() {
      closing.abort();
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      // A connection that was busy just now is idle, and kept alive, once its call has ended.
      const look = setInterval(() => server.closeIdleConnections(), CLOSE_LOOK_MS);
      const limit = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
      await promise;
      clearInterval(look);
      clearTimeout(limit);
    },
  };
}

async function listen(server: Server, socketPath: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  const mask = process.umask(0o177);
  server.listen(socketPath, resolve);
  process.umask(mask);
  await promise;
  chmodSync(socketPath, 0o600);
}

interface HostCall {
  readonly host: Host;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly closing: AbortSignal;
  /** Of an error that nobody expected. */
  readonly logError: (error: unknown) => void;
}

async function handle({ host, request, response, closing, logError }: HostCall): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://host');
  const name = url.pathname.slice(1);
  const gone = new AbortController();
  response.once('close', () => gone.abort(new PlatformError('DEADLINE_EXCEEDED', 'Cannot wait: the caller has gone')));
  if (request.method === 'GET' && name === 'reports') {
    const signal = AbortSignal.any([gone.signal, closing]);
    return await streamReports(host, Number(url.searchParams.get('since')), response, signal);
  }
  try {
    if (request.method !== 'POST' || !isHostMethod(name)) {
      throw new PlatformError('ROUTE_NOT_FOUND', 'Cannot call the host: no such method');
    }
    const args: unknown = JSON.parse(await readBody(request));
    if (!Array.isArray(args)) throw new PlatformError('INVALID_REQUEST', 'Cannot call the host: no arguments');
    const result = await call(host, name, args, gone.signal);
    answer(response, 200, result ?? null);
  } catch (error) {
    if (!(error instanceof PlatformError)) logError(error);
    answer(response, 500, toErrorBody(error));
  }
}

async function call(host: Host, method: HostMethod, args: readonly unknown[], signal: AbortSignal): Promise<unknown> {
  const all = method === 'acquire' ? [args[0], signal] : [...args];
  const run = host[method] as (...args: unknown[]) => Promise<unknown>;
  return await run.apply(host, all);
}

async function streamReports(host: Host, since: number, response: ServerResponse, signal: AbortSignal): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  response.flushHeaders();
  for await (const report of host.reports(Number.isFinite(since) ? since : 0, signal)) {
    if (response.write(`${JSON.stringify(report)}\n`)) continue;
    const { promise, resolve } = Promise.withResolvers<void>();
    response.once('drain', resolve);
    response.once('close', resolve);
    await promise;
  }
  response.end();
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new PlatformError('INVALID_REQUEST', 'Cannot call the host: too much');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  if (response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

function toErrorBody(error: unknown): ErrorBody {
  if (error instanceof PlatformError) return { code: error.code, message: error.message, details: error.details };
  return { code: 'INTERNAL', message: 'Cannot do this: a fault of the host; its log says which', details: {} };
}
