import type { ApiKey as ApiKeySchema, CreatedApiKey, RevokedApiKey } from '@tenantry/contract/api-key.ts';
import type { Static } from 'typebox';
import type { Secret } from '../../kernel/secret.ts';
import type { ApiKey } from '../../platform/platform.ts';
import { defined } from '../defined.ts';
import { toOptionalTimestamp, toTimestamp } from './timestamp.ts';

export const presentApiKey = (apiKey: ApiKey): Static<typeof ApiKeySchema> => ({
  ...presentCommon(apiKey),
  ...presentLastUse(apiKey),
  created_by: { id: apiKey.createdByUserId, name: apiKey.createdByName, image: '' },
});

export const presentCreatedApiKey = (apiKey: ApiKey, key: Secret): Static<typeof CreatedApiKey> => ({
  ...presentCommon(apiKey),
  created_by: apiKey.createdByUserId,
  key: key.reveal(),
});

export const presentRevokedApiKey = (apiKey: ApiKey): Static<typeof RevokedApiKey> => ({
  ...presentCommon(apiKey),
  ...presentLastUse(apiKey),
  created_by: apiKey.createdByUserId,
  revoked: true,
});

const presentCommon = (apiKey: ApiKey) => ({
  id: apiKey.id,
  name: apiKey.name,
  created_at: toTimestamp(apiKey.createdAt),
});

const presentLastUse = (apiKey: ApiKey) => ({
  last_used_from_addr: apiKey.lastUsedFromAddress ?? '',
  ...defined({ last_used_at: toOptionalTimestamp(apiKey.lastUsedAt) }),
});
