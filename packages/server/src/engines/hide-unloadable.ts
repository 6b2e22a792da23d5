import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { runProgram } from './run-program.ts';

const LDD_DEADLINE_MS = 60_000;

/**
 * Removes, from an engine's own copy, the control files of extensions whose library needs another one that this machine
 * does not have (Perl, Python): they would be listed as available and could not be created.
 */
export async function hideUnloadable(extensionDir: string, libraryDir: string): Promise<void> {
  const unloadable = await findUnloadable(libraryDir);
  if (unloadable.size === 0) return;
  for (const file of await readdir(extensionDir)) {
    if (!file.endsWith('.control')) continue;
    const path = join(extensionDir, file);
    const library = /^\s*module_pathname\s*=\s*'\$libdir\/([^']+)'/m.exec(await readFile(path, 'utf8'))?.[1];
    if (library && unloadable.has(library)) await rm(path);
  }
}

/** Names of libraries, without `.so`. Where there is no ldd (macOS) every library is taken for loadable. */
async function findUnloadable(libraryDir: string): Promise<ReadonlySet<string>> {
  const names = (await readdir(libraryDir)).filter((name) => name.endsWith('.so'));
  const paths = names.map((name) => join(libraryDir, name));
  const report = await runProgram('ldd', paths, { deadlineMs: LDD_DEADLINE_MS }).catch(() => '');
  // `<path>:`, then an indented line for each library that it needs.
  const unloadable = report.split(/^(?=\S)/m).filter((section) => section.includes('=> not found'));
  return new Set(unloadable.map((section) => basename(section.slice(0, section.indexOf(':\n')), '.so')));
}
