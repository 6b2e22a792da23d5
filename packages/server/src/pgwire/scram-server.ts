import type { ScramVerifier } from '../kernel/scram-verifier.ts';
import { ProtocolError } from './protocol-error.ts';
import {
  equalBytes,
  hmac,
  isKeyOf,
  isScramNonce,
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
  scramAttributes,
  scramBase64,
  xor,
} from './scram.ts';

export interface ScramServerOptions {
  readonly verifier: ScramVerifier;
  /** Base64 text of at least 18 random bytes, new for each exchange. */
  readonly nonce: string;
  /** Hash of our certificate (tls-server-end-point, RFC 5929); undefined where -PLUS was not offered. */
  readonly channelBinding: Buffer | undefined;
}

export interface ScramSuccess {
  readonly serverFinal: string;
  /** Recovered from the proof: with it one can log in to any server that holds the same verifier. */
  readonly clientKey: Buffer;
}

/** The server's side of one SCRAM exchange. Every malformed message throws `ProtocolError`. */
export class ScramServer {
  readonly #options: ScramServerOptions;
  #gs2Header = '';
  #isBound = false;
  #firstMessages = '';
  #nonce = '';

  constructor(options: ScramServerOptions) {
    this.#options = options;
  }

  /** Takes client-first-message, gives server-first-message. */
  receiveFirst(mechanism: string, clientFirst: string): string {
    const match = /^((p=[A-Za-z0-9.-]+|n|y),([^,]*),)(.*)$/.exec(clientFirst);
    if (!match) throw new ProtocolError('malformed SCRAM message: invalid channel-binding header');
    const [, header = '', flag = '', authorizationIdentity = '', bare = ''] = match;
    this.#checkBinding(mechanism, flag);
    if (authorizationIdentity !== '') {
      throw new ProtocolError('client uses authorization identity, but it is not supported');
    }
    const [, clientNonce] = scramAttributes(bare, ['n', 'r']);
    if (!isScramNonce(clientNonce)) throw new ProtocolError('malformed SCRAM message: non-printable nonce');
    const { verifier, nonce } = this.#options;
    this.#gs2Header = header;
    this.#nonce = clientNonce + nonce;
    const serverFirst = `r=${this.#nonce},s=${verifier.salt.toString('base64')},i=${verifier.iterations}`;
    this.#firstMessages = `${bare},${serverFirst}`;
    return serverFirst;
  }

  /** Takes client-final-message. Undefined: the proof is wrong, that is, the password. */
  receiveFinal(clientFinal: string): ScramSuccess | undefined {
    const proofAt = clientFinal.lastIndexOf(',p=');
    if (proofAt === -1) throw new ProtocolError('malformed SCRAM message: expected attribute p');
    const withoutProof = clientFinal.slice(0, proofAt);
    const proof = scramBase64(clientFinal.slice(proofAt + 3), 32);
    const [binding, nonce] = scramAttributes(withoutProof, ['c', 'r']);
    if (nonce !== this.#nonce) throw new ProtocolError('invalid SCRAM response: nonce does not match');
    if (!equalBytes(scramBase64(binding), this.#expectedBinding())) {
      throw new ProtocolError('SCRAM channel binding check failed');
    }
    const { verifier } = this.#options;
    const authMessage = `${this.#firstMessages},${withoutProof}`;
    const clientKey = xor(proof, hmac(verifier.storedKey, authMessage));
    if (!isKeyOf(verifier, clientKey)) return undefined;
    return { serverFinal: `v=${hmac(verifier.serverKey, authMessage).toString('base64')}`, clientKey };
  }

  /** RFC 5802 section 6: `y` says "you did not offer -PLUS"; if we did, somebody in between removed it. */
  #checkBinding(mechanism: string, flag: string): void {
    const isOffered = this.#options.channelBinding !== undefined;
    this.#isBound = mechanism === SCRAM_SHA_256_PLUS && isOffered;
    if (!this.#isBound && mechanism !== SCRAM_SHA_256) {
      throw new ProtocolError('client selected an invalid SASL authentication mechanism');
    }
    if (this.#isBound && flag !== 'p=tls-server-end-point') {
      throw new ProtocolError(
        flag.startsWith('p=')
          ? 'unsupported SCRAM channel-binding type'
          : 'malformed SCRAM message: SCRAM-SHA-256-PLUS without channel binding data',
      );
    }
    if (!this.#isBound && flag.startsWith('p=')) {
      throw new ProtocolError('malformed SCRAM message: SCRAM-SHA-256 with channel binding data');
    }
    if (flag === 'y' && isOffered) throw new ProtocolError('SCRAM channel binding negotiation error');
  }

  #expectedBinding(): Buffer {
    const header = Buffer.from(this.#gs2Header);
    const { channelBinding } = this.#options;
    return this.#isBound && channelBinding ? Buffer.concat([header, channelBinding]) : header;
  }
}
