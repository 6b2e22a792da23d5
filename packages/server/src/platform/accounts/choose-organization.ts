import type { OrganizationId } from '@tenantry/contract/ids.ts';
import { PlatformError } from '../../kernel/errors.ts';
import { notFound } from '../checks.ts';
import type { Principal } from '../platform.ts';

/**
 * The organization that a request is about: the one it names, or the only one that the key acts for.
 * @throws PlatformError NOT_FOUND, INVALID_REQUEST (in the words that clients look for)
 */
export function chooseOrganization({ organizationIds }: Principal, named: string | undefined): OrganizationId {
  if (named !== undefined) {
    const organization = organizationIds.find((id) => id === named);
    if (!organization) throw notFound('organization', named);
    return organization;
  }
  const [only, ...others] = organizationIds;
  if (only && others.length === 0) return only;
  throw new PlatformError('INVALID_REQUEST', 'org_id is required, you can find it on your organization settings page');
}
