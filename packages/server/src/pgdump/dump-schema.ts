import { findPgDump, type PgDump } from './find-pg-dump.ts';
import type { DumpSource } from './raw-session.ts';
import { runSystemDump } from './run-system-dump.ts';
import { runWasmDump } from './run-wasm-dump.ts';
import { splitStatements } from './split-statements.ts';

export interface DumpSchemaOptions {
  /** Of the server. */
  readonly pgVersion: number;
  readonly deadlineMs: number;
  /** The user that a pg_dump of the system runs as; null: ours. */
  readonly runAs: { readonly uid: number; readonly gid: number } | null;
  /** With CREATE DATABASE first, and the settings and grants of the database. */
  readonly withDatabase: boolean;
  /** Undefined: what `findPgDump` finds. */
  readonly pgDump?: PgDump;
}

/**
 * The schema of a database as SQL statements, in an order in which they can be run. No rows, no statistics, no large
 * objects; no subscriptions, since a copy of one would take its publisher's changes from the original.
 * @throws PlatformError INTERNAL, DEADLINE_EXCEEDED
 */
export async function dumpSchema(source: DumpSource, options: DumpSchemaOptions): Promise<string[]> {
  const { pgVersion, deadlineMs, runAs, withDatabase, pgDump = await findPgDump(pgVersion) } = options;
  const args = [
    '--schema-only',
    '--encoding=UTF8',
    '--no-subscriptions',
    '--no-security-labels',
    '--no-tablespaces',
    ...(pgDump.version >= 18 ? ['--no-statistics'] : []),
    ...(withDatabase ? ['--create'] : []),
  ];
  const text =
    pgDump.kind === 'wasm'
      ? await runWasmDump(source, { args, deadlineMs })
      : await runSystemDump(source, { args, deadlineMs, runAs, path: pgDump.path });
  return splitStatements(text)
    .filter((statement) => !SETTING_OF_CLIENT.test(statement))
    .map(withoutColumnVersion)
    .filter((statement) => statement !== '');
}

/**
 * Since the minor releases of November 2026 Postgres keeps a version of its own among a column's options. A pg_dump of
 * that time knows that it is not part of the schema; an older one, as in WebAssembly, shows it. Empty if nothing is left.
 */
function withoutColumnVersion(statement: string): string {
  const [, head = '', list = ''] = COLUMN_OPTIONS.exec(statement) ?? [];
  if (head === '' || !COLUMN_VERSION.test(list)) return statement;
  const options = list.split(', ').filter((option) => !COLUMN_VERSION.test(option));
  return options.length === 0 ? '' : `${head}(${options.join(', ')})`;
}

const COLUMN_OPTIONS = /^(ALTER (?:FOREIGN )?TABLE ONLY [\s\S]* ALTER COLUMN [\s\S]* SET )\(([\w=., -]+)\)$/;
const COLUMN_VERSION = /\bpg_attver=/;

/** What pg_dump sets for psql's session: which there are depends on its version. Where it matters, we set it. */
const SETTING_OF_CLIENT =
  /^(?:SET (?!default_table_access_method\b|SESSION\b)\w+ = |SELECT pg_catalog\.set_config\('search_path', '', false\)$)/;
