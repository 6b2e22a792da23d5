import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PACKAGES, SERVER_FOLDERS } from './import-table.ts';
import { type Import, importsOf, listSourceFiles, ROOT } from './source-files.ts';

const SERVER = 'packages/server/src/';
const isTestCode = (path: string): boolean => path.endsWith('.test.ts') || path.includes('/testing/');
const folderOf = (path: string): string => path.slice(SERVER.length).split('/')[0] ?? '';

const serverImports = listSourceFiles('packages/server/src')
  .filter((path) => !isTestCode(path))
  .flatMap(importsOf);

function isAllowed({ from, to, isTypeOnly }: Import): boolean {
  const rule = SERVER_FOLDERS[folderOf(from)];
  const target = folderOf(to);
  if (!rule || target === folderOf(from)) return rule !== undefined;
  return rule.imports.includes(target) || (isTypeOnly && (rule.types ?? []).includes(target));
}

describe('the import table', () => {
  test('names every folder of the server', () => {
    const folders = readdirSync(join(ROOT, SERVER)).filter((name) => listable(name));
    expect(folders.filter((name) => !(name in SERVER_FOLDERS))).toEqual([]);
    expect(Object.keys(SERVER_FOLDERS).filter((name) => !folders.includes(name))).toEqual([]);
  });

  test('holds for every import of the server', () => {
    const wrong = serverImports.filter(({ to }) => to.startsWith(SERVER)).filter((found) => !isAllowed(found));
    expect(wrong.map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
  });

  test('holds between the packages', () => {
    const wrong = Object.entries(PACKAGES).flatMap(([name, allowed]) =>
      listSourceFiles(`packages/${name}/src`)
        .flatMap(importsOf)
        .filter(({ to }) => to.startsWith('packages/') && !to.startsWith(`packages/${name}/`))
        .filter(({ to }) => !allowed.some((prefix) => to.replace('/src', '').startsWith(`packages/${prefix}/`)))
        .map(({ from, to }) => `${from} -> ${to}`),
    );
    expect(wrong).toEqual([]);
  });

  test('has no test code in production code', () => {
    expect(serverImports.filter(({ to }) => isTestCode(to)).map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
  });
});

test('no files import each other in a circle', () => {
  const edges = new Map<string, string[]>();
  for (const { from, to, isTypeOnly } of serverImports) {
    if (!isTypeOnly && to.startsWith(SERVER)) edges.set(from, [...(edges.get(from) ?? []), to]);
  }
  const finished = new Set<string>();
  const visit = (path: string, trail: readonly string[]): string[] => {
    if (trail.includes(path)) return [[...trail.slice(trail.indexOf(path)), path].join(' -> ')];
    if (finished.has(path)) return [];
    const cycles = (edges.get(path) ?? []).flatMap((next) => visit(next, [...trail, path]));
    finished.add(path);
    return cycles;
  };
  expect([...edges.keys()].flatMap((path) => visit(path, []))).toEqual([]);
});

test('no barrels', () => {
  const files = Object.keys(PACKAGES).flatMap((name) => listSourceFiles(`packages/${name}/src`));
  expect(files.filter((path) => path.endsWith('/index.ts'))).toEqual([]);
});

test('the environment is read in one place', () => {
  const allowed = ['packages/server/src/main.ts', 'packages/server/src/processes/'];
  const readers = serverImports.map(({ from }) => from);
  const wrong = [...new Set(readers)]
    .filter((path) => !allowed.some((prefix) => path.startsWith(prefix)))
    .filter((path) => /process\.env\b/.test(textOf(path)));
  expect(wrong).toEqual([]);
});

function listable(name: string): boolean {
  return name.endsWith('.ts') || listSourceFiles(`${SERVER}${name}`).length > 0;
}

function textOf(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}
