import type {
  AuthDetails,
  Organization as OrganizationSchema,
  Region,
  User as UserSchema,
} from '@tenantry/contract/account.ts';
import type { Static } from 'typebox';
import type { Organization, Principal, User } from '../../platform/platform.ts';
import { toTimestamp } from './timestamp.ts';

const NO_LIMIT = -1;
const AUTOSCALING_CU_MAX = 16;

export const presentUser = (user: User): Static<typeof UserSchema> => ({
  id: user.id,
  email: user.email,
  login: user.login,
  name: user.name,
  last_name: '',
  image: '',
  plan: 'tenantry',
  auth_accounts: [],
  active_seconds_limit: NO_LIMIT,
  projects_limit: user.projectsLimit,
  branches_limit: NO_LIMIT,
  max_autoscaling_limit: AUTOSCALING_CU_MAX,
});

export const presentOrganization = (organization: Organization): Static<typeof OrganizationSchema> => ({
  id: organization.id,
  name: organization.name,
  handle: organization.handle,
  plan: organization.plan,
  managed_by: 'console',
  created_at: toTimestamp(organization.createdAt),
  updated_at: toTimestamp(organization.updatedAt),
  allow_hipaa_projects: false,
  require_mfa: false,
});

/** Keys of a project are made by its organization and count as such. */
export const presentAuth = (principal: Principal): Static<typeof AuthDetails> => ({
  account_id: principal.kind === 'user' ? principal.userId : (principal.organizationIds[0] ?? principal.userId),
  auth_method: principal.kind === 'user' ? 'api_key_user' : 'api_key_org',
  auth_data: String(principal.apiKeyId),
});

export const presentRegion = (regionId: string, isDefault: boolean): Static<typeof Region> => ({
  region_id: regionId,
  name: regionId,
  default: isDefault,
  geo_lat: '',
  geo_long: '',
});
