import type { PlatformContext } from '../context.ts';
import type { Organization, Principal, User } from '../platform.ts';
import { getUser, listOrganizations } from './account-rows.ts';

export const getMe = ({ metadata }: PlatformContext, { userId }: Principal): Promise<User> => getUser(metadata, userId);

/** Those that the key acts for. */
export const listMyOrganizations = (
  { metadata }: PlatformContext,
  { organizationIds }: Principal,
): Promise<readonly Organization[]> => listOrganizations(metadata, organizationIds);
