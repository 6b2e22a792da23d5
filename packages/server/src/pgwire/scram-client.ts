import { ProtocolError } from './protocol-error.ts';
import { equalBytes, hash, hmac, isScramNonce, scramAttributes, scramBase64, xor } from './scram.ts';

export interface ScramClientOptions {
  /** Stands for the password: recovered from a client's proof, or derived. */
  readonly clientKey: Buffer;
  /** Of the verifier that the server is believed to hold: the server must prove that it knows it. */
  readonly serverKey: Buffer;
  /** Base64 text of at least 18 random bytes, new for each exchange. */
  readonly nonce: string;
}

/** A hostile server must not make us sign, or keep, more than this. Postgres sends 48 and 24 characters. */
const NONCE_MAX_CHARACTERS = 512;
const SALT_MAX_CHARACTERS = 1024;
const ITERATIONS = { min: 1, max: 100_000 } as const;

const bareFirst = (nonce: string): string => `n=,r=${nonce}`;

/** client-first-message. It needs no key: those of a password depend on the answer to it. */
export const scramClientFirst = (nonce: string): string => `n,,${bareFirst(nonce)}`;

/** The client's side of one SCRAM-SHA-256 exchange without channel binding, with keys in place of a password. */
export class ScramClient {
  readonly #options: ScramClientOptions;
  readonly #bare: string;
  #authMessage = '';

  constructor(options: ScramClientOptions) {
    this.#options = options;
    this.#bare = bareFirst(options.nonce);
  }

  /** client-first-message. Postgres takes the user from the startup packet. */
  first(): string {
    return scramClientFirst(this.#options.nonce);
  }

  /** Takes server-first-message, gives client-final-message. @throws ProtocolError */
  final(serverFirst: string): string {
    const [nonce, salt, iterations] = scramAttributes(serverFirst, ['r', 's', 'i']);
    const { clientKey, nonce: own } = this.#options;
    if (!nonce.startsWith(own) || nonce.length <= own.length || nonce.length > NONCE_MAX_CHARACTERS) {
      throw new ProtocolError('invalid SCRAM nonce of server');
    }
    if (!isScramNonce(nonce)) throw new ProtocolError('invalid SCRAM nonce of server');
    if (salt.length > SALT_MAX_CHARACTERS) throw new ProtocolError('invalid SCRAM salt of server');
    const count = /^\d{1,7}$/.test(iterations) ? Number(iterations) : 0;
    if (count < ITERATIONS.min || count > ITERATIONS.max) throw new ProtocolError('invalid SCRAM iterations of server');
    const withoutProof = `c=biws,r=${nonce}`;
    this.#authMessage = `${this.#bare},${serverFirst},${withoutProof}`;
    const proof = xor(clientKey, hmac(hash(clientKey), this.#authMessage));
    return `${withoutProof},p=${proof.toString('base64')}`;
  }

  /** Takes server-final-message. @throws ProtocolError if the server did not prove that it holds the verifier */
  verify(serverFinal: string): void {
    const [signature] = scramAttributes(serverFinal, ['v']);
    const expected = hmac(this.#options.serverKey, this.#authMessage);
    if (this.#authMessage === '' || !equalBytes(scramBase64(signature, 32), expected)) {
      throw new ProtocolError('invalid SCRAM server signature');
    }
  }
}
