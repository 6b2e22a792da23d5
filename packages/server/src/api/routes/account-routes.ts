import { PlatformError } from '../../kernel/errors.ts';
import type { HandlerContext, Handlers } from '../handlers.ts';
import { presentApiKey, presentCreatedApiKey, presentRevokedApiKey } from '../presenters/present-api-key.ts';
import { presentAuth, presentOrganization, presentRegion, presentUser } from '../presenters/present-account.ts';

type Names =
  | 'createApiKey'
  | 'listApiKeys'
  | 'revokeApiKey'
  | 'getCurrentUserInfo'
  | 'getCurrentUserOrganizations'
  | 'getOrganization'
  | 'getAuthDetails'
  | 'getActiveRegions';

/** Shown where the operator has named no regions and any well-formed id is accepted. */
const LOCAL_REGION = 'local';

export function accountRoutes({ platform, regions }: HandlerContext): Pick<Handlers, Names> {
  const { accounts, apiKeys } = platform;
  return {
    createApiKey: async ({ principal, body }) => {
      const { apiKey, key } = await apiKeys.create(principal, body.key_name);
      return presentCreatedApiKey(apiKey, key);
    },

    listApiKeys: async ({ principal }) => (await apiKeys.list(principal)).map(presentApiKey),

    revokeApiKey: async ({ principal, params }) => presentRevokedApiKey(await apiKeys.revoke(principal, params.key_id)),

    getCurrentUserInfo: async ({ principal }) => presentUser(await accounts.me(principal)),

    getCurrentUserOrganizations: async ({ principal }) => ({
      organizations: (await accounts.organizations(principal)).map(presentOrganization),
    }),

    getOrganization: async ({ principal, params }) => {
      const organizations = await accounts.organizations(principal);
      const organization = organizations.find(({ id }) => id === params.org_id);
      if (!organization) throw new PlatformError('NOT_FOUND', `Cannot find organization ${params.org_id}`);
      return presentOrganization(organization);
    },

    getAuthDetails: async ({ principal }) => presentAuth(principal),

    getActiveRegions: async () => ({
      regions: (regions.length > 0 ? regions : [LOCAL_REGION]).map((id, index) => presentRegion(id, index === 0)),
    }),
  };
}
