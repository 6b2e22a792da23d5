import { expect, test } from 'vitest';
import { nextMigration } from './migrate.ts';

const migration = (name: string, checksum = name) => ({ name, checksum, text: '', isBreaking: false });
const applied = (name: string, { checksum = name, breaking = false } = {}) => ({ name, checksum, breaking });
const known = [migration('0001_a'), migration('0002_b')];

test('the first missing migration comes next', () => {
  expect(nextMigration(known, [])?.name).toBe('0001_a');
  expect(nextMigration(known, [applied('0001_a')])?.name).toBe('0002_b');
  expect(nextMigration(known, [applied('0001_a'), applied('0002_b')])).toBeUndefined();
});

test('a newer migration of another version is accepted unless it is breaking', () => {
  const both = [applied('0001_a'), applied('0002_b')];
  expect(nextMigration(known, [...both, applied('0003_c')])).toBeUndefined();
  expect(() => nextMigration(known, [...both, applied('0003_c', { breaking: true })])).toThrow('has applied 0003_c');
});

test('a changed migration is refused, even if others are missing', () => {
  expect(() => nextMigration(known, [applied('0001_a', { checksum: 'x' })])).toThrow('0001_a was changed');
});
