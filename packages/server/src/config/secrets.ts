import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { newApiKey } from '@tenantry/contract/ids.ts';
import { readFileIfExists, writeFileAtomic } from '../kernel/atomic-file.ts';
import { Secret } from '../kernel/secret.ts';

/** What an installation keeps to itself, in files of mode 0600 below `<dataDir>/secrets`. */
export interface Secrets {
  readonly adminKey: Secret;
  /** Password of `cloud_admin`, the superuser of every tenant Postgres. */
  readonly computeAdminPassword: Secret;
  readonly metadataPassword: Secret;
  /** Seals the role passwords in the metadata database; kept outside of it. 32 bytes. */
  readonly passwordBoxKey: Secret<Buffer>;
  /** Makes the salts of roles that do not exist look real. 32 bytes. */
  readonly mockAuthKey: Secret<Buffer>;
}

/**
 * Reads the secrets, making those that are missing. An admin key given by the operator wins over the kept one.
 * Call it in one process before the others start.
 */
export async function ensureSecrets(directory: string, givenAdminKey: Secret | undefined): Promise<Secrets> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const text = async (name: string, make: () => string): Promise<string> => {
    const path = join(directory, name);
    const kept = (await readFileIfExists(path))?.trim();
    if (kept) return kept;
    const made = make();
    await writeFileAtomic(path, `${made}\n`);
    return made;
  };
  const hexKey = async (name: string): Promise<Secret<Buffer>> =>
    new Secret(Buffer.from(await text(name, () => randomBytes(32).toString('hex')), 'hex'));
  const password = async (name: string): Promise<Secret> =>
    new Secret(await text(name, () => randomBytes(32).toString('base64url')));

  return {
    adminKey: givenAdminKey ?? new Secret(await text('admin-key', newApiKey)),
    computeAdminPassword: await password('compute-admin-password'),
    metadataPassword: await password('metadata-password'),
    passwordBoxKey: await hexKey('password-box-key'),
    mockAuthKey: await hexKey('mock-auth-key'),
  };
}
