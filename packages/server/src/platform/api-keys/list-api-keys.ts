import type { PlatformContext } from '../context.ts';
import type { ApiKey, Principal } from '../platform.ts';
import { listApiKeyRows } from './api-key-rows.ts';
import { checkIsUser } from './create-api-key.ts';

export async function listApiKeys({ metadata }: PlatformContext, principal: Principal): Promise<readonly ApiKey[]> {
  checkIsUser(principal);
  return listApiKeyRows(metadata, principal.userId);
}
