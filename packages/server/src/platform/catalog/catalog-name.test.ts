import { expect, test } from 'vitest';
import { checkDatabaseName, checkRoleName } from './catalog-name.ts';

test.each(['a', 'neondb_owner', 'O\'Brien "x"', 'ü'.repeat(31), 'x'.repeat(63), 'postgres_user'])(
  '%s may be a name',
  (name) => {
    expect(checkRoleName(name, 'f')).toBe(name);
    expect(checkDatabaseName(name, 'f')).toBe(name);
  },
);

test.each(['', 'x'.repeat(64), 'ü'.repeat(32), 'a\0b', 'a\nb', '\ud800'])('%j may not be a name', (name) => {
  expect(() => checkRoleName(name, 'f')).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
  expect(() => checkDatabaseName(name, 'f')).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
});

test.each([
  'cloud_admin',
  'Neon_Superuser',
  'web_access',
  'public',
  'none',
  'pg_read_all_data',
  'tenantry_x',
  'postgres',
])('no role may be called %s', (name) => {
  expect(() => checkRoleName(name, 'f')).toThrow(expect.objectContaining({ code: 'RESERVED_NAME' }));
});

test.each(['postgres', 'template0', 'Template1', 'pg_x', 'tenantry'])('no database may be called %s', (name) => {
  expect(() => checkDatabaseName(name, 'f')).toThrow(expect.objectContaining({ code: 'RESERVED_NAME' }));
});
