import { newApiKey } from '@tenantry/contract/ids.ts';
import { must } from '../../kernel/assert.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { Secret } from '../../kernel/secret.ts';
import { checkName } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { ApiKey, Principal } from '../platform.ts';
import { findApiKeyRow, hashApiKey, insertApiKey } from './api-key-rows.ts';

/** A personal key. Shown this once; only its hash is kept. */
export async function createApiKey(
  { metadata }: PlatformContext,
  principal: Principal,
  name: string,
): Promise<{ readonly apiKey: ApiKey; readonly key: Secret }> {
  checkIsUser(principal);
  const key = newApiKey();
  const { userId } = principal;
  const id = await insertApiKey(metadata, { hash: hashApiKey(key), name: checkName('key_name', name), userId });
  const { origin: _, ...apiKey } = must(await findApiKeyRow(metadata, userId, id), 'the key was just stored');
  return { apiKey, key: new Secret(key) };
}

/** @throws PlatformError FORBIDDEN: a key that is not personal must not reach the user's other keys */
export function checkIsUser({ kind }: Principal): void {
  if (kind !== 'user') throw new PlatformError('FORBIDDEN', 'Cannot manage API keys: this takes a personal key');
}
