import { randomUUID } from 'node:crypto';
import { newOrganizationId } from '@tenantry/contract/ids.ts';
import type { Secret } from '../../kernel/secret.ts';
import { hashApiKey, replaceOperatorKey } from '../api-keys/api-key-rows.ts';
import type { PlatformDeps } from '../context.ts';
import { findFirstUserId, insertFirstAccount, lockAccounts } from './account-rows.ts';

/**
 * Called at every start, before requests are served: the first makes one user, one organization and the operator's
 * personal key. A key that differs from the last one replaces it, and the last one is revoked.
 */
export async function bootstrap({ metadata }: Pick<PlatformDeps, 'metadata'>, adminKey: Secret): Promise<void> {
  await metadata.transaction().execute(async (tx) => {
    await lockAccounts(tx);
    let userId = await findFirstUserId(tx);
    if (userId === undefined) {
      userId = randomUUID();
      await insertFirstAccount(tx, { userId, organizationId: newOrganizationId() });
    }
    await replaceOperatorKey(tx, { hash: hashApiKey(adminKey.reveal()), userId });
  });
}
