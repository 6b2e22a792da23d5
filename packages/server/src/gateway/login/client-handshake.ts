import type { Socket } from 'node:net';
import { negotiateProtocolVersion } from '../../pgwire/backend-messages.ts';
import {
  parseStartupPacket,
  PROTOCOL_3_0,
  STARTUP_BODY_MAX_BYTES,
  type CancelKey,
  type StartupPacket,
} from '../../pgwire/startup-packet.ts';
import { acceptTls, type ServerTls } from '../tls/client-tls.ts';
import { isLoopback } from './client-address.ts';
import { insecureConnection, unsupportedVersion } from '../error-response.ts';
import { DisconnectedError, MessageChannel } from './message-channel.ts';

/** The newest minor version of protocol 3 that we speak: 3.2 differs only by its longer cancel keys. */
const MINOR_MAX = 2;

const TLS_RECORD_HANDSHAKE = 0x16;

export interface ClientStartup {
  readonly kind: 'startup';
  readonly channel: MessageChannel;
  readonly serverName: string | undefined;
  /** Undefined: plaintext. */
  readonly tls: ServerTls | undefined;
  readonly parameters: ReadonlyMap<string, string>;
  readonly hasLongCancelKey: boolean;
  /** NegotiateProtocolVersion, or empty: goes out before the first authentication request. */
  readonly negotiation: Buffer;
}

export type ClientRequest =
  | ClientStartup
  | { readonly kind: 'cancel'; readonly channel: MessageChannel; readonly key: CancelKey };

/**
 * Everything up to and including the startup packet: encryption first, then what the client wants.
 * SSLRequest and GSSENCRequest each count once; a second one is a protocol version that nobody has.
 *
 * @param onChannel told of each channel as it comes into use, so that an error reaches the client the right way
 * @throws GatewayError for what the client should read; ProtocolError and DisconnectedError for what needs no answer
 */
export async function receiveRequest(
  raw: Socket,
  address: string,
  serverTls: ServerTls,
  onChannel: (channel: MessageChannel) => void,
): Promise<ClientRequest> {
  let channel = new MessageChannel(raw);
  onChannel(channel);
  let tls: ServerTls | undefined;
  let serverName: string | undefined;
  const upgrade = async (isDirect: boolean): Promise<void> => {
    const secure = await acceptTls(raw, channel.detach(), isDirect, serverTls);
    tls = serverTls;
    ({ serverName } = secure);
    channel = new MessageChannel(secure.socket);
    onChannel(channel);
  };

  if ((await channel.peek()) === TLS_RECORD_HANDSHAKE) await upgrade(true);
  let isGssRequestAllowed = true;
  for (;;) {
    const packet = parseStartupPacket(await channel.readPacket(STARTUP_BODY_MAX_BYTES));
    if (packet.kind === 'ssl_request' && !tls) {
      raw.write('S');
      await upgrade(false);
    } else if (packet.kind === 'gss_enc_request' && isGssRequestAllowed) {
      isGssRequestAllowed = false;
      channel.write(Buffer.from('N'));
    } else if (packet.kind === 'cancel_request') {
      return { kind: 'cancel', channel, key: packet.key };
    } else {
      return toStartup(packet, { channel, serverName, tls, address });
    }
  }
}

interface Accepted extends Pick<ClientStartup, 'channel' | 'serverName' | 'tls'> {
  readonly address: string;
}

/** The demand for TLS comes before the version: no version may be a way around it. */
function toStartup(packet: Exclude<StartupPacket, { kind: 'cancel_request' }>, accepted: Accepted): ClientStartup {
  const { address, ...rest } = accepted;
  if (!rest.tls && !isLoopback(address)) {
    throw insecureConnection();
  }
  if (packet.kind !== 'startup') {
    const { major, minor } = packet.kind === 'unsupported_version' ? packet : SECOND_REQUEST[packet.kind];
    rest.channel.write(unsupportedVersion(major, minor));
    throw new DisconnectedError('The client asked for a protocol that is not ours');
  }
  const minor = Math.min(packet.minor, MINOR_MAX);
  const options = [...packet.parameters.keys()].filter(isProtocolOption);
  const isNegotiated = packet.minor > MINOR_MAX || options.length > 0;
  return {
    kind: 'startup',
    ...rest,
    parameters: new Map([...packet.parameters].filter(([name]) => !isProtocolOption(name))),
    hasLongCancelKey: minor === MINOR_MAX,
    negotiation: isNegotiated ? negotiateProtocolVersion(PROTOCOL_3_0 | minor, options) : Buffer.alloc(0),
  };
}

const SECOND_REQUEST = {
  ssl_request: { major: 1234, minor: 5679 },
  gss_enc_request: { major: 1234, minor: 5680 },
} as const;

const isProtocolOption = (name: string): boolean => name.startsWith('_pq_.');
