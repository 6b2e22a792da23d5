import { newRolePassword } from '@tenantry/contract/ids.ts';
import { makeVerifier } from '../../kernel/scram-verifier.ts';
import { Secret } from '../../kernel/secret.ts';
import type { PasswordBox, PasswordOwner } from './password-box.ts';

export interface NewRoleSecret {
  readonly password: Secret;
  readonly verifier: string;
  /** Null where the project stores no passwords. */
  readonly passwordEncrypted: Buffer | null;
}

/** A fresh random password with all that is kept of it. */
export function newRoleSecret(
  passwords: PasswordBox,
  owner: PasswordOwner,
  { storePasswords }: { readonly storePasswords: boolean },
): NewRoleSecret {
  const password = new Secret(newRolePassword());
  return {
    password,
    verifier: makeVerifier(password.reveal()),
    passwordEncrypted: storePasswords ? passwords.encrypt(password, owner) : null,
  };
}
