import { constants, createHash, X509Certificate } from 'node:crypto';
import { createSecureContext, TLSSocket, type SecureContext } from 'node:tls';
import type { Socket } from 'node:net';
import { DisconnectedError } from '../login/message-channel.ts';

export interface ServerCertificate {
  readonly keyPem: string;
  /** The server's certificate, then those between it and the authority, if any. */
  readonly certPem: string;
}

/** What TLS needs of the certificate in use. */
export interface ServerTls {
  readonly context: SecureContext;
  /** tls-server-end-point data (RFC 5929); undefined where the certificate's hash is not known, so no -PLUS then. */
  readonly channelBinding: Buffer | undefined;
}

const ALPN = 'postgresql';

/** libpq's asynchronous API hangs on some result sizes if a record is larger than its 8 kB buffer. */
const RECORD_MAX_BYTES = 8192;

export function createServerTls({ keyPem, certPem }: ServerCertificate): ServerTls {
  const context = createSecureContext({
    key: keyPem,
    cert: certPem,
    minVersion: 'TLSv1.2',
    // libpq never resumes, and a session resumed under another name must not carry the old one.
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
  return { context, channelBinding: channelBindingOf(new X509Certificate(certPem)) };
}

/** Hash of the certificate with the hash of its own signature, where MD5 and SHA-1 count as SHA-256 (RFC 5929). */
function channelBindingOf(certificate: X509Certificate): Buffer | undefined {
  const name = /(?:^|with-?)(md5|sha1|sha256|sha384|sha512)(?:with|$)/i.exec(certificate.signatureAlgorithm ?? '')?.[1];
  if (name === undefined) return undefined;
  const hash = /^(md5|sha1)$/i.test(name) ? 'sha256' : name.toLowerCase();
  return createHash(hash).update(certificate.raw).digest();
}

export interface SecureClient {
  readonly socket: TLSSocket;
  /** SNI. */
  readonly serverName: string | undefined;
}

/**
 * TLS over an accepted socket. All that came in so far (`unread`) is input of TLS, never of the protocol behind it.
 * @param isDirect TLS without SSLRequest before it: the client must then name the protocol by ALPN
 * @throws DisconnectedError if the handshake fails or its peer leaves
 */
export async function acceptTls(
  raw: Socket,
  unread: Buffer,
  isDirect: boolean,
  { context }: ServerTls,
): Promise<SecureClient> {
  if (unread.length > 0) raw.unshift(unread);
  const socket = new TLSSocket(raw, {
    isServer: true,
    secureContext: context,
    ALPNCallback: ({ protocols }) => (protocols.includes(ALPN) ? ALPN : undefined),
  });
  socket.setMaxSendFragment(RECORD_MAX_BYTES);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const fail = (error?: unknown): void => reject(new DisconnectedError('The TLS handshake failed', { cause: error }));
  socket.on('error', fail);
  socket.once('close', fail);
  socket.once('secure', resolve);
  await promise;
  socket.off('close', fail);
  if (isDirect && socket.alpnProtocol !== ALPN) {
    socket.destroy();
    throw new DisconnectedError('The client began TLS without naming the protocol by ALPN');
  }
  return { socket, serverName: serverNameOf(socket) };
}

function serverNameOf(socket: TLSSocket): string | undefined {
  const { servername } = socket as TLSSocket & { servername?: string | false | null };
  return servername || undefined;
}
