import { AuthDetails, Organization, Region, User } from './account.ts';
import { ApiKey, ApiKeyCreateBody, CreatedApiKey, RevokedApiKey } from './api-key.ts';
import { route } from './route.ts';
import { id, requestObject, Type } from './schema.ts';

/** Who asks: keys, the user, organizations; and where databases can be. */
export const accountRoutes = {
  createApiKey: route('POST', '/api_keys', {
    tag: 'API key',
    summary: 'Create an API key and show it',
    body: ApiKeyCreateBody,
    response: CreatedApiKey,
  }),
  listApiKeys: route('GET', '/api_keys', {
    tag: 'API key',
    summary: 'List API keys',
    response: Type.Array(ApiKey),
  }),
  revokeApiKey: route('DELETE', '/api_keys/{key_id}', {
    tag: 'API key',
    summary: 'Revoke an API key',
    params: requestObject({ key_id: Type.Integer({ minimum: 1, description: 'API key id.' }) }),
    response: RevokedApiKey,
  }),
  getCurrentUserInfo: route('GET', '/users/me', {
    tag: 'Account',
    summary: 'Get the user of the key',
    response: User,
  }),
  getCurrentUserOrganizations: route('GET', '/users/me/organizations', {
    tag: 'Account',
    summary: 'List the organizations of the key',
    response: Type.Object({ organizations: Type.Array(Organization) }),
  }),
  getOrganization: route('GET', '/organizations/{org_id}', {
    tag: 'Account',
    summary: 'Get an organization',
    params: requestObject({ org_id: id('Organization id.') }),
    response: Organization,
  }),
  getAuthDetails: route('GET', '/auth', {
    tag: 'Account',
    summary: 'Get the kind of the key',
    response: AuthDetails,
  }),
  getActiveRegions: route('GET', '/regions', {
    tag: 'Region',
    summary: 'List the regions where projects can be',
    query: requestObject({ org_id: Type.Optional(id('Has no effect: regions are the same for all.')) }),
    response: Type.Object({ regions: Type.Array(Region) }),
  }),
} as const;
