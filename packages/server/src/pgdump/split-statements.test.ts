import { describe, expect, it } from 'vitest';
import { splitStatements } from './split-statements.ts';

describe('splitting what pg_dump writes', () => {
  it.each<[string, string, readonly string[]]>([
    ['nothing', '-- only\n\n\\restrict abc\n', []],
    ['statements', 'SET a = 1;\n\nCREATE TABLE t (\n    a int\n);\n', ['SET a = 1', 'CREATE TABLE t (\n    a int\n)']],
    ['comments between', '--\n-- Name: a; Type: TABLE;\n--\n\nSELECT 1;\n', ['SELECT 1']],
    ['commands of psql', 'SELECT 1;\n\\connect "a;b"\nSELECT 2;\n\\unrestrict x', ['SELECT 1', 'SELECT 2']],
    ['strings', "SELECT 'a;''b;', E'\\';', 'c\\';SELECT 2;", ["SELECT 'a;''b;', E'\\';', 'c\\'", 'SELECT 2']],
    ['names', 'CREATE TABLE "a;""b;" (x int);SELECT 1;', ['CREATE TABLE "a;""b;" (x int)', 'SELECT 1']],
    [
      'a name that ends in e before a string',
      "COMMENT ON TABLE te IS'\\';SELECT 1;",
      ["COMMENT ON TABLE te IS'\\'", 'SELECT 1'],
    ],
    ['dollar quotes', 'DO $a$ x; $b$; $$; $a$;SELECT 1;', ['DO $a$ x; $b$; $$; $a$', 'SELECT 1']],
    ['a dollar in a name', 'SELECT a$b$ FROM t;SELECT c$b$;', ['SELECT a$b$ FROM t', 'SELECT c$b$']],
    ['lines of psql in a body', 'DO $$\n\\connect x\n-- a\n$$;', ['DO $$\n\\connect x\n-- a\n$$']],
    [
      'comments within',
      'SELECT 1 /* ; /* ; */ ; */ + 2 -- ;\n;SELECT 3;',
      ['SELECT 1 /* ; /* ; */ ; */ + 2 -- ;', 'SELECT 3'],
    ],
    [
      'rules',
      'CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2;);SELECT 3;',
      ['CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2;)', 'SELECT 3'],
    ],
    [
      'bodies of the standard form',
      'CREATE OR REPLACE FUNCTION f() RETURNS int\n BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END;\n SELECT 2;\nEND;SELECT 3;',
      [
        'CREATE OR REPLACE FUNCTION f() RETURNS int\n BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END;\n SELECT 2;\nEND',
        'SELECT 3',
      ],
    ],
    ['a table named begin', 'CREATE TABLE begin (a int);SELECT 1;', ['CREATE TABLE begin (a int)', 'SELECT 1']],
  ])('%s', (_, text, statements) => expect(splitStatements(text)).toEqual(statements));

  it('ends with the text, whatever is open', () => {
    for (const text of ["SELECT 'a", 'SELECT "a', 'SELECT $a$ b', 'SELECT /* a', 'SELECT (a;', "SELECT E'\\"]) {
      expect(splitStatements(text)).toEqual([text]);
    }
  });
});
