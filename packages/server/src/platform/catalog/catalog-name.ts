import { PlatformError } from '../../kernel/errors.ts';
import { badField, isPlainText, printable } from '../checks.ts';

/** Longer names Postgres would cut off. */
const BYTES_MAX = 63;

const PLATFORM_ROLES: ReadonlySet<string> = new Set(['cloud_admin', 'neon_superuser', 'web_access']);

const RESERVED_ROLES: ReadonlySet<string> = new Set([
  ...PLATFORM_ROLES,
  'current_role',
  'current_user',
  'none',
  'postgres',
  'public',
  'session_user',
]);

const RESERVED_DATABASES: ReadonlySet<string> = new Set(['postgres', 'template0', 'template1']);

const isReserved = (name: string, reserved: ReadonlySet<string>): boolean =>
  reserved.has(name.toLowerCase()) || /^(pg_|tenantry)/i.test(name);

const isReservedRole = (name: string): boolean => isReserved(name, RESERVED_ROLES);
const isReservedDatabase = (name: string): boolean => isReserved(name, RESERVED_DATABASES);

/** Never for clients, whatever SQL has done to it. SQL may use other reserved names, and they are followed. */
export const isPlatformRole = (name: string): boolean => PLATFORM_ROLES.has(name);

/** False for what no role or database of ours is called. */
export const isCatalogName = (name: string): boolean =>
  name !== '' && Buffer.byteLength(name) <= BYTES_MAX && isPlainText(name);

/** @throws PlatformError INVALID_REQUEST, RESERVED_NAME */
export function checkRoleName(name: string, field: string): string {
  return checkCatalogName(name, field, isReservedRole);
}

/** @throws PlatformError INVALID_REQUEST, RESERVED_NAME */
export function checkDatabaseName(name: string, field: string): string {
  return checkCatalogName(name, field, isReservedDatabase);
}

function checkCatalogName(name: string, field: string, isReservedName: (name: string) => boolean): string {
  if (!isCatalogName(name)) throw badField(field, `1 to ${BYTES_MAX} bytes of UTF-8 without control characters`);
  if (isReservedName(name)) {
    throw new PlatformError(
      'RESERVED_NAME',
      `Cannot accept ${field}: ${printable(name)} is reserved for Postgres or for the platform`,
      { details: { field } },
    );
  }
  return name;
}
