import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { parseAuthentication, parseBackendKeyData, parseErrorResponse } from '../../pgwire/backend-messages.ts';
import type { Frame } from '../../pgwire/frame-reader.ts';
import { saslInitialResponse, saslResponse } from '../../pgwire/frontend-messages.ts';
import { ProtocolError } from '../../pgwire/protocol-error.ts';
import { ScramClient } from '../../pgwire/scram-client.ts';
import { SCRAM_SHA_256 } from '../../pgwire/scram.ts';
import { startupMessage, type CancelKey } from '../../pgwire/startup-packet.ts';
import { ComputeRefusal } from '../error-response.ts';
import { MessageChannel } from '../login/message-channel.ts';
import type { ComputeTarget } from '../ports.ts';

/** A tenant's Postgres is not trusted: bounds of one login message and of all of them. */
const MESSAGE_MAX_BYTES = 64 * 1024;
const GREETING_MAX_BYTES = 256 * 1024;

/** A compute that accepts connections answers in milliseconds; then it is tried again. */
const LOGIN_TIMEOUT_MS = 15_000;

export interface ComputeLogin {
  readonly parameters: ReadonlyMap<string, string>;
  readonly clientKey: Buffer;
  readonly serverKey: Buffer;
}

/** A session of the compute, logged in and idle. */
export interface ComputeSession {
  readonly target: ComputeTarget;
  /** Paused. */
  readonly socket: Socket;
  /** ParameterStatus and notices, as they came. */
  readonly greeting: Buffer;
  /** ReadyForQuery and all that came behind it. */
  readonly ready: Buffer;
  /** The compute's own key. No client ever sees it. */
  readonly cancelKey: CancelKey;
}

/**
 * Connects to a compute and logs in with the client's keys (SCRAM-SHA-256, both sides prove themselves).
 * @throws ComputeRefusal with Postgres' own error; DisconnectedError if the compute is not there or goes away
 */
export async function logInToCompute(
  target: ComputeTarget,
  login: ComputeLogin,
  signal: AbortSignal,
): Promise<ComputeSession> {
  const socket = connectTo(target);
  const channel = new MessageChannel(socket);
  const abort = (): void => void socket.destroy();
  const timer = setTimeout(abort, LOGIN_TIMEOUT_MS);
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    channel.write(startupMessage(login.parameters));
    await exchangeScram(channel, login);
    const session = await receiveGreeting(channel);
    return { target, socket, ...session };
  } catch (error) {
    socket.destroy();
    signal.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

export function connectTo(target: ComputeTarget): Socket {
  return target.kind === 'unix'
    ? connect({ path: target.socketPath, allowHalfOpen: true })
    : connect({ host: target.hostname, port: target.port, allowHalfOpen: true, noDelay: true, keepAlive: true });
}

async function exchangeScram(channel: MessageChannel, { clientKey, serverKey }: ComputeLogin): Promise<void> {
  const scram = new ScramClient({ clientKey, serverKey, nonce: randomBytes(18).toString('base64') });
  const offer = parseAuthentication((await receive(channel, 'R')).body);
  if (offer.kind !== 'sasl' || !offer.mechanisms.includes(SCRAM_SHA_256)) {
    throw new ProtocolError('the compute does not ask for SCRAM-SHA-256');
  }
  channel.write(saslInitialResponse(SCRAM_SHA_256, scram.first()));
  const serverFirst = parseAuthentication((await receive(channel, 'R')).body);
  if (serverFirst.kind !== 'sasl_continue') throw new ProtocolError('the compute broke off SCRAM');
  channel.write(saslResponse(scram.final(serverFirst.data)));
  const serverFinal = parseAuthentication((await receive(channel, 'R')).body);
  if (serverFinal.kind !== 'sasl_final') throw new ProtocolError('the compute broke off SCRAM');
  scram.verify(serverFinal.data);
  if (parseAuthentication((await receive(channel, 'R')).body).kind !== 'ok') {
    throw new ProtocolError('the compute asks for more than SCRAM');
  }
}

async function receiveGreeting(
  channel: MessageChannel,
): Promise<Pick<ComputeSession, 'greeting' | 'ready' | 'cancelKey'>> {
  const greeting: Buffer[] = [];
  let cancelKey: CancelKey | undefined;
  for (let size = 0; size <= GREETING_MAX_BYTES;) {
    const frame = await receive(channel, 'S', 'N', 'K', 'Z');
    size += frame.raw.length;
    if (frame.type === 'K') cancelKey = parseBackendKeyData(frame.body);
    else if (frame.type !== 'Z') greeting.push(frame.raw);
    else if (cancelKey) {
      return { greeting: Buffer.concat(greeting), ready: Buffer.concat([frame.raw, channel.detach()]), cancelKey };
    } else throw new ProtocolError('the compute gave no cancel key');
  }
  throw new ProtocolError('the compute sent too much at login');
}

/** The next message of one of these types. Notices before authentication and protocol negotiation say nothing to us. */
async function receive(channel: MessageChannel, ...types: readonly string[]): Promise<Frame> {
  for (;;) {
    const frame = await channel.readMessage(MESSAGE_MAX_BYTES);
    if (types.includes(frame.type)) return frame;
    if (frame.type === 'E') throw new ComputeRefusal(parseErrorResponse(frame.body).sqlstate, frame.raw);
    if (frame.type !== 'N' && frame.type !== 'v') throw new ProtocolError('the compute sent an unexpected message');
  }
}
