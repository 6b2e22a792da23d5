import { choice, count, id, responseObject, timestamp, Type } from './schema.ts';

const NO_LIMIT = '-1: no limit.';

export const User = responseObject('User', {
  id: Type.String(),
  email: Type.String(),
  login: Type.String(),
  name: Type.String(),
  last_name: Type.String(),
  image: Type.String(),
  plan: Type.String(),
  auth_accounts: Type.Array(Type.Object({}), { description: 'Always empty: users sign in by API key.' }),
  active_seconds_limit: Type.Integer({ description: NO_LIMIT }),
  projects_limit: count('Projects that the user may have.'),
  branches_limit: Type.Integer({ description: NO_LIMIT }),
  max_autoscaling_limit: Type.Number({ description: 'Largest size of a compute, in compute units.' }),
});

export const Organization = responseObject('Organization', {
  id: id('Organization id.'),
  name: Type.String(),
  handle: Type.String(),
  plan: Type.String(),
  managed_by: Type.String({ description: 'Always console.' }),
  created_at: timestamp('When it was created.'),
  updated_at: timestamp('Its last change.'),
  allow_hipaa_projects: Type.Boolean(),
  require_mfa: Type.Boolean(),
});

export const AuthDetails = responseObject('AuthDetails', {
  account_id: Type.String({ description: 'The user, or the organization of an organization key.' }),
  auth_method: choice(['api_key_user', 'api_key_org'], 'Kind of the key.'),
  auth_data: Type.String({ description: 'Id of the key.' }),
});

export const Region = responseObject('Region', {
  region_id: Type.String(),
  name: Type.String(),
  default: Type.Boolean(),
  geo_lat: Type.String(),
  geo_long: Type.String(),
});
