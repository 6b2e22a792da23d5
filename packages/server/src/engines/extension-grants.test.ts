import { expect, test } from 'vitest';
import { withGrants } from './extension-grants.ts';

test('the wrapper is granted, and no function that dblink keeps from everyone', () => {
  const script = `REVOKE ALL ON FUNCTION dblink_connect_u (text) FROM public;\nCREATE FOREIGN DATA WRAPPER dblink_fdw VALIDATOR v;\n\n`;
  expect(withGrants('dblink', script).split('\n').slice(2)).toEqual([
    'GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO neon_superuser WITH GRANT OPTION;',
    '',
  ]);
});

test('the functions of amcheck are granted, with signatures of several lines', () => {
  const script = `REVOKE ALL ON FUNCTION verify_heapam(regclass,\n\tboolean)\nFROM PUBLIC;\n`;
  expect(withGrants('amcheck', script)).toBe(
    `${script}GRANT EXECUTE ON FUNCTION verify_heapam(regclass,\n\tboolean) TO neon_superuser WITH GRANT OPTION;\n`,
  );
});

test('a script that keeps nothing stays as it is', () => {
  expect(withGrants('postgres_fdw', 'SELECT 1;\n')).toBe('SELECT 1;\n');
});
