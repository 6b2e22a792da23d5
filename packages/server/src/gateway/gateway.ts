import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../kernel/log.ts';
import type { Secret } from '../kernel/secret.ts';
import { Admission } from './limits/admission.ts';
import { CancelKeys } from './cancel/cancel-keys.ts';
import { CancelRouter } from './cancel/cancel-router.ts';
import { addressKey, normalizeAddress } from './login/client-address.ts';
import { createServerTls, type ServerCertificate, type ServerTls } from './tls/client-tls.ts';
import { LoginLimits } from './limits/login-limits.ts';
import { LoginPermits } from './limits/login-permits.ts';
import { RoleVerifiers } from './login/role-verifiers.ts';
import type { ComputeBroker, EndpointDirectory, GatewayObserver } from './ports.ts';
import { ServedClient, type ServeParts } from './serve-client.ts';
import { WorkerLink } from './workers/worker-link.ts';

/** Clients in login, over all workers, and those that wait for a place, per worker. */
const ADMISSION = { activePerAddress: 256, active: 2_048, heldPerAddress: 8_192, held: 16_384 } as const;

/** Logins at once to one compute, per worker. */
const LOGINS_PER_COMPUTE_MAX = 32;

/** From the moment that a client is served to its authentication. One that is held waits at most as long again. */
const LOGIN_TIMEOUT_MS = 15_000;

const BACKLOG = 4_096;

/** A peer that vanished without a word is found by the kernel. */
const KEEP_ALIVE_MS = 60_000;

/** Time for the last bytes of a stopping gateway to leave, and for clients to hang up. */
const GOODBYE_MS = 250;

export interface GatewayOptions {
  readonly listenAddress: string;
  /** 0: any free one. */
  readonly pgPort: number;
  readonly domain: string;
  /** This process among the `workers` that share the port. */
  readonly workerIndex: number;
  readonly workers: number;
  /** Directory of sockets between workers; must exist and be private. */
  readonly runDir: string;
  readonly certificates: ServerCertificate;
  /** Key of the answers given for roles that do not exist; the same in all workers. */
  readonly mockAuthKey: Secret<Buffer>;
  readonly directory: EndpointDirectory;
  readonly broker: ComputeBroker;
  readonly observer: GatewayObserver;
  readonly log: Log;
  /** Time that open sessions get when the gateway stops. */
  readonly drainMs: number;
  readonly loginTimeoutMs?: number;
}

export interface Gateway {
  /** Starts to accept clients; gives the port. */
  listen(): Promise<{ readonly port: number }>;
  /** Serves the next clients with another certificate. */
  useCertificate(certificate: ServerCertificate): void;
  /** Accepts nobody more, lets sessions end until `drainMs` have passed, then ends them with 57P01. */
  stop(): Promise<void>;
}

/** The data plane of one worker process: Postgres clients in, sessions of computes out. */
export function createGateway(options: GatewayOptions): Gateway {
  return new PgGateway(options);
}

class PgGateway implements Gateway {
  readonly #options: GatewayOptions;
  readonly #admission: Admission;
  readonly #link: WorkerLink;
  readonly #parts: ServeParts;
  readonly #server: Server;
  readonly #clients = new Set<ServedClient>();
  readonly #sockets = new Set<Socket>();
  /** Accepted, but not read from yet. */
  readonly #held = new Set<Socket>();
  #onIdle: (() => void) | undefined;
  #tls: ServerTls;

  constructor(options: GatewayOptions) {
    const { workerIndex, workers, certificates, mockAuthKey } = options;
    this.#options = options;
    this.#tls = createServerTls(certificates);
    this.#admission = new Admission({
      ...ADMISSION,
      activePerAddress: Math.ceil(ADMISSION.activePerAddress / workers),
      active: Math.ceil(ADMISSION.active / workers),
    });
    this.#link = new WorkerLink(options);
    const cancelKeys = new CancelKeys(workerIndex, workers);
    this.#parts = {
      ...options,
      verifiers: new RoleVerifiers({ ...options, mockAuthKey: mockAuthKey.reveal() }),
      limits: new LoginLimits(this.#link),
      permits: new LoginPermits(LOGINS_PER_COMPUTE_MAX),
      currentTls: () => this.#tls,
      cancelKeys,
      cancelRouter: new CancelRouter({ ...options, keys: cancelKeys, link: this.#link }),
      loginTimeoutMs: options.loginTimeoutMs ?? LOGIN_TIMEOUT_MS,
    };
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) =>
      this.#accept(socket),
    );
  }

  async listen(): Promise<{ readonly port: number }> {
    const { listenAddress, pgPort } = this.#options;
    await this.#link.listen();
    this.#server.listen({ host: listenAddress, port: pgPort, reusePort: true, backlog: BACKLOG });
    await once(this.#server, 'listening');
    this.#server.on('error', (error) => this.#options.log.error({ err: error }, 'cannot accept clients'));
    return { port: (this.#server.address() as AddressInfo).port };
  }

  useCertificate(certificate: ServerCertificate): void {
    this.#tls = createServerTls(certificate);
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#held) socket.destroy();
    await this.#untilIdle(this.#options.drainMs);
    for (const client of this.#clients) client.terminate();
    await Promise.race([closed, delay(GOODBYE_MS)]);
    for (const socket of this.#sockets) socket.destroy();
    await this.#link.close();
  }

  #accept(socket: Socket): void {
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('error', () => {});
    const holdTimer = setTimeout(() => socket.destroy(), this.#parts.loginTimeoutMs);
    this.#sockets.add(socket);
    this.#held.add(socket);
    const address = addressKey(normalizeAddress(socket.remoteAddress));
    const leave = this.#admission.enter(address, () => {
      clearTimeout(holdTimer);
      this.#held.delete(socket);
      queueMicrotask(() => void this.#serve(socket, () => leave?.()));
    });
    socket.once('close', () => {
      clearTimeout(holdTimer);
      leave?.();
      this.#sockets.delete(socket);
      this.#held.delete(socket);
    });
    if (!leave) socket.destroy();
  }

  async #serve(socket: Socket, leave: () => void): Promise<void> {
    const client = new ServedClient(socket, this.#parts, leave);
    this.#clients.add(client);
    await client.serve();
    this.#clients.delete(client);
    if (this.#clients.size === 0) this.#onIdle?.();
  }

  async #untilIdle(timeoutMs: number): Promise<void> {
    if (this.#clients.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    const timer = setTimeout(resolve, timeoutMs);
    await promise;
    clearTimeout(timer);
  }
}
