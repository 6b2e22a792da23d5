import type { Socket } from 'node:net';
import { messageOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { backendKeyData } from '../pgwire/backend-messages.ts';
import { ProtocolError } from '../pgwire/protocol-error.ts';
import { authenticate, type AuthenticatedClient, type AuthenticationParts } from './login/authenticate.ts';
import type { CancelKeys } from './cancel/cancel-keys.ts';
import type { CancelRouter } from './cancel/cancel-router.ts';
import { normalizeAddress } from './login/client-address.ts';
import { receiveRequest, type ClientStartup } from './login/client-handshake.ts';
import type { ServerTls } from './tls/client-tls.ts';
import { closeAfter } from './session/close-socket.ts';
import type { ComputeSession } from './session/compute-login.ts';
import { connectCompute, type ConnectParts } from './session/connect-compute.ts';
import { GatewayError, toErrorAnswer, shuttingDown } from './error-response.ts';
import { ForwardSession } from './session/forward-session.ts';
import { DisconnectedError, type MessageChannel } from './login/message-channel.ts';

export interface ServeParts extends AuthenticationParts, ConnectParts {
  /** The TLS in use now: a renewed certificate serves the next client. */
  readonly currentTls: () => ServerTls;
  readonly cancelKeys: CancelKeys;
  readonly cancelRouter: CancelRouter;
  readonly log: Log;
  readonly loginTimeoutMs: number;
}

/** One client, from its accepted socket to the end of its session. States and events: SESSION.spec.md. */
export class ServedClient {
  readonly #raw: Socket;
  readonly #parts: ServeParts;
  readonly #address: string;
  readonly #onAuthenticated: () => void;
  readonly #ended = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  #channel: MessageChannel | undefined;
  /** Once the client is authenticated. */
  #endpointId: string | undefined;
  /** A startup packet came: it is a client of Postgres, and told what is wrong. */
  #isStarted = false;
  #isFailed = false;
  #session: ForwardSession | undefined;
  /** Goes out before an error that is not about authentication: the end of a login that did succeed. */
  #greeting: Buffer = Buffer.alloc(0);

  /** @param onAuthenticated called once the client is authenticated; one that never is ends with its socket */
  constructor(raw: Socket, parts: ServeParts, onAuthenticated: () => void) {
    this.#raw = raw;
    this.#parts = parts;
    this.#address = normalizeAddress(raw.remoteAddress);
    this.#onAuthenticated = onAuthenticated;
  }

  /** Serves the client to its end. Never throws. */
  async serve(): Promise<void> {
    const deadline = setTimeout(() => this.#raw.destroy(), this.#parts.loginTimeoutMs);
    this.#raw.once('close', () => clearTimeout(deadline));
    try {
      await this.#begin(() => {
        clearTimeout(deadline);
        this.#onAuthenticated();
      });
      await this.#ended.promise;
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The gateway stops: tells the client so, where its stream allows it, and closes. */
  terminate(): void {
    this.#stopping.abort(shuttingDown());
    if (this.#session) this.#session.terminate();
    else this.#fail(this.#stopping.signal.reason);
  }

  /** All that is known only during login ends with this call: an idle session holds no keys. */
  async #begin(onAuthenticated: () => void): Promise<void> {
    const request = await receiveRequest(this.#raw, this.#address, this.#parts.currentTls(), (channel) => {
      this.#channel = channel;
    });
    if (request.kind === 'startup') {
      this.#isStarted = true;
      await this.#logIn(request, onAuthenticated);
    } else {
      await this.#parts.cancelRouter.cancel(request.key, this.#address);
      closeAfter(request.channel.socket);
      this.#ended.resolve();
    }
  }

  async #logIn(startup: ClientStartup, onAuthenticated: () => void): Promise<void> {
    const { channel } = startup;
    const client = await authenticate(startup, this.#address, this.#parts);
    onAuthenticated();
    this.#endpointId = client.endpointId;
    this.#greeting = client.greeting;
    const leaving = AbortSignal.any([channel.closed, this.#stopping.signal]);
    const compute = await connectCompute(client.endpointId, client, this.#parts, leaving);
    if (leaving.aborted) {
      compute.socket.destroy();
      throw leaving.reason;
    }
    this.#forward(startup, client, compute);
  }

  #forward({ channel, hasLongCancelKey }: ClientStartup, client: AuthenticatedClient, compute: ComputeSession): void {
    const { cancelKeys, observer } = this.#parts;
    const { endpointId, greeting } = client;
    const key = cancelKeys.register({ target: compute.target, key: compute.cancelKey }, hasLongCancelKey);
    this.#session = new ForwardSession(channel.socket, compute.socket, ({ bytesToClient, bytesFromClient }) => {
      cancelKeys.unregister(key);
      observer.sessionClosed(endpointId, bytesToClient, bytesFromClient);
      this.#ended.resolve();
    });
    this.#channel = undefined;
    observer.sessionOpened(endpointId);
    const hello = Buffer.concat([greeting, compute.greeting, backendKeyData(key), compute.ready]);
    this.#session.start(hello, channel.detach());
  }

  /** Before its startup packet a client that breaks the protocol may not be one of Postgres: it gets no answer. */
  #fail(error: unknown): void {
    if (this.#isFailed) return;
    this.#isFailed = true;
    const { observer, log } = this.#parts;
    const socket = this.#channel?.socket ?? this.#raw;
    this.#channel?.detach();
    if (error instanceof DisconnectedError || socket.destroyed) {
      observer.connectFailed('client_disconnect');
      closeAfter(socket);
      return;
    }
    const answer = toErrorAnswer(error);
    observer.connectFailed(answer.failure);
    if (answer.isBug) log.error({ err: error, address: this.#address }, 'cannot connect a client');
    else {
      const isOurs = answer.failure === 'service' || (answer.failure === 'compute' && error instanceof GatewayError);
      const reason = messageOf((error instanceof GatewayError && error.cause) || error);
      const words = { reason, sqlstate: answer.sqlstate, address: this.#address, endpointId: this.#endpointId };
      log[isOurs ? 'warn' : 'debug'](words, 'client refused');
    }
    const isSilent = error instanceof ProtocolError && !this.#isStarted;
    closeAfter(socket, isSilent ? undefined : Buffer.concat([this.#greeting, answer.bytes]));
  }
}
