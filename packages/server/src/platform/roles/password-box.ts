import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { assert } from '../../kernel/assert.ts';
import { Secret } from '../../kernel/secret.ts';

/** Whose password it is: a ciphertext moved to another row does not open. */
export interface PasswordOwner {
  readonly branchId: string;
  readonly role: string;
}

/** Encrypts role passwords with a key that the metadata database does not hold. */
export interface PasswordBox {
  encrypt(password: Secret, owner: PasswordOwner): Buffer;
  /** Undefined if it was sealed with another key, for another owner, or was tampered with. */
  decrypt(box: Buffer, owner: PasswordOwner): Secret | undefined;
}

const FORMAT = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * AES-256-GCM; a box is format byte, nonce, tag, ciphertext.
 * @param key 32 random bytes
 */
export function createPasswordBox(key: Secret<Buffer>): PasswordBox {
  assert(key.reveal().length === 32, 'the key of the password box has 32 bytes');
  return {
    encrypt(password, owner) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key.reveal(), nonce).setAAD(toBinding(owner));
      const text = Buffer.concat([cipher.update(password.reveal(), 'utf8'), cipher.final()]);
      return Buffer.concat([Buffer.of(FORMAT), nonce, cipher.getAuthTag(), text]);
    },
    decrypt(box, owner) {
      if (box.length < 1 + NONCE_BYTES + TAG_BYTES || box[0] !== FORMAT) return undefined;
      const nonce = box.subarray(1, 1 + NONCE_BYTES);
      const tag = box.subarray(1 + NONCE_BYTES, 1 + NONCE_BYTES + TAG_BYTES);
      const decipher = createDecipheriv('aes-256-gcm', key.reveal(), nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(toBinding(owner)).setAuthTag(tag);
      try {
        const text = decipher.update(box.subarray(1 + NONCE_BYTES + TAG_BYTES));
        return new Secret(Buffer.concat([text, decipher.final()]).toString('utf8'));
      } catch {
        return undefined;
      }
    },
  };
}

/** A branch id has no NUL, so no two owners have the same bytes. */
const toBinding = ({ branchId, role }: PasswordOwner): Buffer => Buffer.from(`${branchId}\0${role}`);
