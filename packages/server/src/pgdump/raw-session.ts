import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { unreachable } from '../kernel/assert.ts';
import { PlatformError } from '../kernel/errors.ts';
import { makeVerifier, parseVerifier } from '../kernel/scram-verifier.ts';
import type { Secret } from '../kernel/secret.ts';
import { parseAuthentication, parseErrorResponse, type ErrorFields } from '../pgwire/backend-messages.ts';
import { FrameReader, type Frame } from '../pgwire/frame-reader.ts';
import { saslInitialResponse, saslResponse } from '../pgwire/frontend-messages.ts';
import { ProtocolError } from '../pgwire/protocol-error.ts';
import { clientKeyOfPassword, SCRAM_SHA_256, scramAttributes, scramBase64 } from '../pgwire/scram.ts';
import { ScramClient, scramClientFirst } from '../pgwire/scram-client.ts';
import { startupMessage } from '../pgwire/startup-packet.ts';

/** A database of a running Postgres. */
export interface DumpSource {
  readonly socketPath: string;
  readonly role: string;
  readonly password: Secret;
  readonly database: string;
  /** `options` of the startup packet: settings of the session. */
  readonly sessionOptions: string;
}

/** No single message of a schema is larger; Postgres itself ends at 1 GB. */
const MESSAGE_MAX_BYTES = 64 * 1024 ** 2;
const ITERATIONS_MAX = 100_000;
const NO_SUCH_DATABASE = '3D000';
const NO_CONNECTIONS = '55000';

/** A session with its bytes: logged in, and from there on whatever the caller sends. */
export class RawSession {
  /** ParameterStatus to ReadyForQuery of the login, as they came. */
  greeting: Buffer = Buffer.alloc(0);
  readonly socket: Socket;
  readonly #frames = new FrameReader();
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  private constructor(socketPath: string) {
    this.socket = connect(socketPath);
    this.socket.on('data', this.#onData);
    this.socket.on('error', (error) => this.#fail(error));
    this.socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  /**
   * Logs in with SCRAM.
   * @throws PlatformError NOT_FOUND (no such database), CONFLICT (it takes no connections), INTERNAL (anything else)
   */
  static async open(source: DumpSource): Promise<RawSession> {
    const session = new RawSession(source.socketPath);
    try {
      await session.#logIn(source);
      return session;
    } catch (error) {
      session.close();
      if (error instanceof PlatformError) throw error;
      throw new PlatformError('INTERNAL', 'Cannot read the schema: the login to its Postgres failed', { cause: error });
    }
  }

  /** The next message. @throws Error once the connection is lost */
  async next(): Promise<Frame> {
    for (;;) {
      const frame = this.#frames.takeMessage(MESSAGE_MAX_BYTES);
      if (frame) return frame;
      if (this.#failure) throw this.#failure;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  /** The socket as a plain stream: `next` gives nothing from here on. */
  detach(): Socket {
    this.socket.off('data', this.#onData);
    return this.socket;
  }

  close(): void {
    this.socket.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#frames.push(chunk);
    this.#wake?.();
  };

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  async #logIn({ role, database, password, sessionOptions }: DumpSource): Promise<void> {
    const parameters = { user: role, database, application_name: 'tenantry', options: sessionOptions };
    this.socket.write(startupMessage(Object.entries(parameters)));
    const nonce = randomBytes(18).toString('base64');
    let client: ScramClient | undefined;
    const greeting: Buffer[] = [];
    for (;;) {
      const { type, body, raw } = await this.next();
      if (type === 'E') throw toError(parseErrorResponse(body), database);
      if (type === 'R') client = await this.#authenticate(body, { nonce, password, client });
      else if (type !== 'N') greeting.push(raw);
      if (type === 'Z') break;
    }
    // A server that proves nothing could be anybody.
    if (!client) throw new ProtocolError('the server asked for no password');
    this.greeting = Buffer.concat(greeting);
  }

  async #authenticate(
    body: Buffer,
    { nonce, password, client }: { nonce: string; password: Secret; client: ScramClient | undefined },
  ): Promise<ScramClient | undefined> {
    const request = parseAuthentication(body);
    switch (request.kind) {
      case 'sasl':
        this.socket.write(saslInitialResponse(SCRAM_SHA_256, scramClientFirst(nonce)));
        return undefined;
      case 'sasl_continue': {
        const scram = new ScramClient({ nonce, ...(await keysOf(password, request.data)) });
        this.socket.write(saslResponse(scram.final(request.data)));
        return scram;
      }
      case 'sasl_final':
        client?.verify(request.data);
        return client;
      case 'ok':
        return client;
      case 'other':
        throw new ProtocolError('the server asks for another kind of password');
      default:
        return unreachable(request);
    }
  }
}

function toError({ sqlstate, message }: ErrorFields, database: string): Error {
  if (sqlstate === NO_SUCH_DATABASE) {
    return new PlatformError('NOT_FOUND', `Cannot find database "${database}" on the branch at that moment`);
  }
  if (sqlstate === NO_CONNECTIONS) {
    return new PlatformError('CONFLICT', `Cannot read the schema: database "${database}" takes no connections`);
  }
  return new Error(message);
}

/** The keys of a password under the salt and the iterations of server-first-message. */
async function keysOf(password: Secret, serverFirst: string): Promise<{ clientKey: Buffer; serverKey: Buffer }> {
  const [, salt, iterations] = scramAttributes(serverFirst, ['r', 's', 'i']);
  const count = Number(iterations);
  if (!(count >= 1 && count <= ITERATIONS_MAX)) throw new ProtocolError('invalid SCRAM iterations of server');
  const verifier = parseVerifier(makeVerifier(password.reveal(), count, Buffer.from(scramBase64(salt))), 1);
  const clientKey = verifier && (await clientKeyOfPassword(password.reveal(), verifier));
  if (!clientKey) throw new ProtocolError('invalid SCRAM salt of server');
  return { clientKey, serverKey: verifier.serverKey };
}
