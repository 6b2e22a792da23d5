import { expect, test } from 'vitest';
import { replaceImport } from './disarm-openssl-engines.ts';

test('the import is replaced by one of the same length, and nothing beside it', () => {
  const library = Buffer.from('\x7fELF..\0ENGINE_by_id\0ENGINE_init\0', 'latin1');
  const { length } = library;
  expect(replaceImport(library)).toBe(true);
  expect(library.toString('latin1')).toBe('\x7fELF..\0ENGINE_new\0\0\0ENGINE_init\0');
  expect(library).toHaveLength(length);
  expect(replaceImport(library)).toBe(false);
});

test('what is no ELF file is left alone', () => {
  const library = Buffer.from('\0ENGINE_by_id\0');
  expect(replaceImport(library)).toBe(false);
  expect(library.toString()).toBe('\0ENGINE_by_id\0');
});
