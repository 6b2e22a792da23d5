import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { randomBytes } from 'node:crypto';
import { must } from '../../kernel/assert.ts';
import { parseVerifier } from '../../kernel/scram-verifier.ts';
import { parseAuthentication, parseErrorResponse, type ErrorFields } from '../../pgwire/backend-messages.ts';
import { int32, message, packet, cstring } from '../../pgwire/fields.ts';
import { FrameReader, type Frame } from '../../pgwire/frame-reader.ts';
import { saslInitialResponse, saslResponse } from '../../pgwire/frontend-messages.ts';
import { ScramClient } from '../../pgwire/scram-client.ts';
import { clientKeyOfPassword } from '../../pgwire/scram.ts';
import { startupMessage } from '../../pgwire/startup-packet.ts';

export const SSL_REQUEST = packet(int32((1234 << 16) | 5679));
export const GSS_ENC_REQUEST = packet(int32((1234 << 16) | 5680));
export const query = (sql: string): Buffer => message('Q', cstring(sql));

/** A client that sends what a test wants, byte by byte if need be. */
export class RawClient {
  socket: Socket;
  readonly #reader = new FrameReader();
  #isClosed = false;
  #wake = (): void => {};

  private constructor(socket: Socket) {
    this.socket = socket;
    this.#attach();
  }

  static async open(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = connect({ port, host, allowHalfOpen: true, noDelay: true });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  #attach(): void {
    this.socket.on('error', () => {});
    this.socket.on('data', (chunk: Buffer) => {
      this.#reader.push(chunk);
      this.#wake();
    });
    for (const event of ['end', 'close']) {
      this.socket.on(event, () => {
        this.#isClosed = true;
        this.#wake();
      });
    }
  }

  send(...bytes: readonly Buffer[]): this {
    for (const each of bytes) this.socket.write(each);
    return this;
  }

  /** TLS over the present socket. Rejects if the handshake fails. */
  async startTls(options: ConnectionOptions = {}): Promise<void> {
    this.socket.removeAllListeners('data');
    this.socket.pause();
    const secure = connectTls({ socket: this.socket, rejectUnauthorized: false, ...options });
    await once(secure, 'secureConnect');
    this.socket = secure;
    this.#attach();
  }

  async #until<T>(take: () => T | undefined): Promise<T | undefined> {
    for (;;) {
      const value = take();
      if (value !== undefined) return value;
      if (this.#isClosed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** One byte, such as the answer to SSLRequest. */
  async byte(): Promise<string> {
    const first = await this.#until(() => this.#reader.peek());
    if (first === undefined) return '';
    const rest = this.#reader.takeRest();
    this.#reader.push(rest.subarray(1));
    return String.fromCharCode(first);
  }

  /** The next message; undefined once the peer has closed. */
  async message(): Promise<Frame | undefined> {
    return await this.#until(() => this.#reader.takeMessage(0x7fffffff));
  }

  /** Types of all messages up to one of the type given, or to the end. */
  async typesUntil(last: string): Promise<string> {
    let types = '';
    for (;;) {
      const frame = await this.message();
      if (!frame) return `${types}.`;
      types += frame.type;
      if (frame.type === last) return types;
    }
  }

  async error(): Promise<ErrorFields> {
    for (;;) {
      const frame = must(await this.message(), 'closed without an error');
      if (frame.type === 'E') return parseErrorResponse(frame.body);
    }
  }

  /** All that comes until the peer closes. */
  async rest(): Promise<Buffer> {
    await this.#until(() => undefined);
    return this.#reader.takeRest();
  }

  /** Logs in up to and without AuthenticationOk. */
  async logIn(parameters: Readonly<Record<string, string>>, verifier: string, password: string): Promise<void> {
    this.send(startupMessage(Object.entries(parameters)));
    const known = must(parseVerifier(verifier));
    const clientKey = must(await clientKeyOfPassword(password, known));
    const nonce = randomBytes(18).toString('base64');
    const scram = new ScramClient({ clientKey, serverKey: known.serverKey, nonce });
    await this.message();
    this.send(saslInitialResponse('SCRAM-SHA-256', scram.first()));
    const challenge = parseAuthentication(must(await this.message()).body);
    this.send(saslResponse(scram.final(challenge.kind === 'sasl_continue' ? challenge.data : '')));
    const final = parseAuthentication(must(await this.message()).body);
    scram.verify(final.kind === 'sasl_final' ? final.data : '');
  }
}
