import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../..');

export interface Import {
  readonly from: string;
  /** Path below the repository, or a package's name. */
  readonly to: string;
  readonly isTypeOnly: boolean;
}

export function listSourceFiles(directory: string): string[] {
  return readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => path.endsWith('.ts') && !path.includes('node_modules'));
}

/** Every static and dynamic import of a file; workspace packages are resolved to their sources. */
export function importsOf(path: string): Import[] {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const pattern = /(?:^|\n)\s*(import|export)\s+(type\s+)?([^;'"]*?from\s+)?'([^']+)'|\bimport\('([^']+)'\)/g;
  return [...text.matchAll(pattern)].map(([, , typeKeyword, clause, specifier, dynamic]) => {
    const target = specifier ?? dynamic ?? '';
    const names = /\{([^}]*)\}/.exec(clause ?? '')?.[1];
    const areAllTypes = names !== undefined && names.split(',').every((name) => /^\s*(type\s|$)/.test(name));
    return { from: path, to: resolveImport(path, target), isTypeOnly: typeKeyword !== undefined || areAllTypes };
  });
}

function resolveImport(from: string, specifier: string): string {
  const workspace = /^@tenantry\/([a-z]+)\/(.+)$/.exec(specifier);
  if (workspace) return `packages/${workspace[1]}/src/${workspace[2]}`;
  if (!specifier.startsWith('.')) return specifier;
  return relative(ROOT, resolve(ROOT, dirname(from), specifier));
}
