import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../kernel/atomic-file.ts';

/**
 * Extensions that a database owner who is no superuser may create, beside those that Postgres itself trusts. Each was
 * read for this: none can read or write a server file, run a program, load a library of the caller's choice, or write
 * to pages or catalogs directly. That is why file_fdw, adminpack, pageinspect, pg_surgery, pg_walinspect and the
 * untrusted languages are not here.
 */
export const TRUSTED_EXTENSIONS: ReadonlySet<string> = new Set([
  'address_standardizer',
  'address_standardizer_data_us',
  'amcheck',
  'autoinc',
  'bloom',
  'dblink',
  'dict_xsyn',
  'earthdistance',
  'insert_username',
  'intagg',
  'moddatetime',
  'pg_buffercache',
  'pg_freespacemap',
  'pg_prewarm',
  'pg_stat_statements',
  'pg_visibility',
  'pgrowlocks',
  'pgstattuple',
  'postgis',
  'postgis_raster',
  'postgis_tiger_geocoder',
  'postgis_topology',
  'postgres_fdw',
  'refint',
  'sslinfo',
  'uuid-ossp',
  'vector',
  'xml2',
]);

/** Marks the vetted extensions of an engine's own copy as trusted. Once per copy. */
export async function trustExtensions(extensionDir: string): Promise<void> {
  for (const file of await readdir(extensionDir)) {
    if (!file.endsWith('.control') || !TRUSTED_EXTENSIONS.has(file.slice(0, -'.control'.length))) continue;
    const path = join(extensionDir, file);
    const text = await readFile(path, 'utf8');
    const trusted = withTrusted(text);
    if (trusted !== text) await writeFileAtomic(path, trusted, 0o644);
  }
}

/** The text of a control file with `trusted = true`. */
export function withTrusted(control: string): string {
  const lines = control.split('\n').filter((line) => !/^\s*trusted\s*=/.test(line));
  while (lines.at(-1)?.trim() === '') lines.pop();
  return [...lines, 'trusted = true', ''].join('\n');
}
