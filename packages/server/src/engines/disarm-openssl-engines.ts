import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../kernel/atomic-file.ts';

const ELF_MAGIC = Buffer.from('\x7fELF', 'latin1');
const BY_ID = Buffer.from('\0ENGINE_by_id\0');
/** The same length. Takes no argument and gives an engine that holds no key, so the connection fails with an error. */
const NEW = Buffer.from('\0ENGINE_new\0\0\0');

/**
 * Takes from libpq, in an engine's own copy, the way to load an OpenSSL engine. libpq reads `sslkey=<engine>:<key>` and
 * hands the first part to ENGINE_by_id, which opens a shared library of that path in the server process: a tenant could
 * run code from any library on the machine through dblink or CREATE SUBSCRIPTION. The name of the imported function is
 * changed to a harmless one of the same library and symbol version. A libpq that was built without engines has no such
 * name and stays as it is; so does one that is no ELF file (macOS).
 */
export async function disarmOpensslEngines(libraryDir: string): Promise<void> {
  for (const name of await readdir(libraryDir)) {
    if (!/^libpq\.so[.\d]*$/.test(name)) continue;
    const path = join(libraryDir, name);
    const facts = await lstat(path);
    if (!facts.isFile()) continue;
    const library = await readFile(path);
    if (replaceImport(library)) await writeFileAtomic(path, library, facts.mode & 0o777);
  }
}

/** In place; false if there is nothing to replace. */
export function replaceImport(library: Buffer): boolean {
  if (!library.subarray(0, ELF_MAGIC.length).equals(ELF_MAGIC)) return false;
  let isFound = false;
  for (let at = library.indexOf(BY_ID); at !== -1; at = library.indexOf(BY_ID, at + 1)) {
    NEW.copy(library, at);
    isFound = true;
  }
  return isFound;
}
