import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SETTINGS } from '../../packages/server/src/config/config.ts';
import { ROOT } from './source-files.ts';
import { SERVER_FOLDERS } from './import-table.ts';

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const firstCells = (markdown: string): string[] =>
  [...markdown.matchAll(/^\| `?([^`|\n]+?)`? \|/gm)].map((match) => match[1] ?? '');

describe('documents agree with the code', () => {
  test('docs/settings.md lists every setting with its flag, default and meaning', () => {
    const rows = Object.values(SETTINGS).map(
      ({ env, flag, fallback, docs }) =>
        `| \`${env}\` | \`--${flag}\` | ${fallback ? `\`${fallback}\`` : ''} | ${docs} |`,
    );
    const table = read('docs/settings.md')
      .split('\n')
      .filter((line) => line.startsWith('| `TENANTRY'));
    expect(table).toEqual(rows);
  });

  test('docs/dependencies.md lists every runtime dependency and no other', () => {
    const manifests = [
      'package.json',
      'packages/contract/package.json',
      'packages/server/package.json',
      'packages/cli/package.json',
    ];
    const used = manifests.flatMap((path) => {
      const { dependencies = {}, optionalDependencies = {} } = JSON.parse(read(path)) as Record<
        string,
        Record<string, string>
      >;
      return Object.keys(dependencies).concat(Object.keys(optionalDependencies));
    });
    const listed = firstCells(read('docs/dependencies.md'))
      .filter((cell) => cell !== 'package' && !cell.startsWith('---'))
      .flatMap((cell) => cell.replace(' (optional)', '').split(', '));
    const isListed = (name: string): boolean =>
      listed.some((row) => row === name || (row.endsWith('*') && name.startsWith(row.slice(0, -1))));
    expect([...new Set(used)].filter((name) => !name.startsWith('@tenantry/') && !isListed(name))).toEqual([]);
    expect(
      listed.filter(
        (row) => !used.some((name) => row === name || (row.endsWith('*') && name.startsWith(row.slice(0, -1)))),
      ),
    ).toEqual([]);
  });

  test('ARCHITECTURE.md lists every folder of the server', () => {
    const listed = [...read('ARCHITECTURE.md').matchAll(/^\| `([a-z]+)\/` \|/gm)].map((match) => match[1]);
    expect(new Set(listed)).toEqual(new Set(Object.keys(SERVER_FOLDERS).filter((name) => !name.endsWith('.ts'))));
  });
});
