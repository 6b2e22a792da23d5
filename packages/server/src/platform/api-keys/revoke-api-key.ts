import type { Authenticator } from '../accounts/authenticator.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { notFound } from '../checks.ts';
import type { PlatformContext } from '../context.ts';
import type { ApiKey, Principal } from '../platform.ts';
import { findApiKeyRow, markApiKeyRevoked } from './api-key-rows.ts';
import { checkIsUser } from './create-api-key.ts';

/** At once and for ever. @throws PlatformError NOT_FOUND, CONFLICT for the key that the operator's settings give */
export async function revokeApiKey(
  { metadata }: PlatformContext,
  authenticator: Authenticator,
  principal: Principal,
  apiKeyId: number,
): Promise<ApiKey> {
  checkIsUser(principal);
  const found = Number.isSafeInteger(apiKeyId) ? await findApiKeyRow(metadata, principal.userId, apiKeyId) : undefined;
  if (!found) throw notFound('API key', String(apiKeyId));
  const { origin, ...apiKey } = found;
  if (origin === 'operator') {
    throw new PlatformError(
      'CONFLICT',
      "Cannot revoke the operator's key here: start Tenantry with another TENANTRY_ADMIN_KEY, which replaces it",
    );
  }
  await markApiKeyRevoked(metadata, apiKeyId);
  authenticator.forget(apiKeyId);
  return apiKey;
}
