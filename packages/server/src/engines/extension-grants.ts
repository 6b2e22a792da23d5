import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../kernel/atomic-file.ts';

/**
 * Trusted extensions that only superusers could use: a database owner could install them, to no end. What each match
 * names is granted. Never the revoked functions of dblink: they connect without a password.
 */
const GRANTS: readonly { readonly extension: string; readonly privilege: string; readonly pattern: RegExp }[] = [
  {
    extension: 'amcheck',
    privilege: 'EXECUTE ON FUNCTION',
    pattern: /^REVOKE ALL ON FUNCTION ([^;]+?)\s+FROM PUBLIC;/gim,
  },
  ...['dblink', 'postgres_fdw'].map((extension) => ({
    extension,
    privilege: 'USAGE ON FOREIGN DATA WRAPPER',
    pattern: /^CREATE FOREIGN DATA WRAPPER (\w+)/gim,
  })),
];

/**
 * Not the role that installs the extension: before 17, Postgres keeps the initial privileges of roles that were dropped,
 * and a dump of such a database cannot be restored.
 */
const GRANTEE = 'neon_superuser WITH GRANT OPTION';

/** Has the scripts of an engine's own copy grant what tenants need to use these extensions. Once per copy. */
export async function grantExtensions(extensionDir: string): Promise<void> {
  for (const file of await readdir(extensionDir)) {
    const extension = file.split('--')[0] ?? '';
    if (!file.endsWith('.sql') || !GRANTS.some((grant) => grant.extension === extension)) continue;
    const path = join(extensionDir, file);
    await writeFileAtomic(path, withGrants(extension, await readFile(path, 'utf8')), 0o644);
  }
}

/** The text of an extension's script, with the grants at its end. */
export function withGrants(extension: string, script: string): string {
  const grants = GRANTS.filter((grant) => grant.extension === extension).flatMap(({ privilege, pattern }) =>
    [...script.matchAll(pattern)].map(([, object]) => `GRANT ${privilege} ${object} TO ${GRANTEE};`),
  );
  return [script.trimEnd(), ...grants, ''].join('\n');
}
